use std::num::NonZeroUsize;

use aqueduct_core::Classified;
use aqueduct_policy::{Backend, Call, Endpoint, Policy, PolicyError, Refusal};
use tower_service::Service;

use crate::{Broken, MS, PASSING, SECOND, Scripted, circuit, clock, retries, run};

#[test]
fn a_policy_without_layers_is_a_bare_call() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder().clock(clock).build().expect("nothing is written");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    assert_eq!(run(&hand, backend.call(Call::new(7))).expect("it answers"), 7);
    assert_eq!(service.attempts(), 1);
}

#[test]
fn it_is_a_service_of_tower() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder().clock(clock).build().expect("nothing is written");
    let mut backend: Backend<Scripted, u32> =
        policy.over([Endpoint::new("a", service.clone()), Endpoint::new("b", service)]).expect("two names");
    assert_eq!(run(&hand, Service::call(&mut backend, Call::new(7))).expect("it answers"), 7);
}

#[test]
fn everything_may_be_shared_between_threads() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    fn moves<T: Send>(_: &T) {}
    shared::<Policy>();
    shared::<Backend<Scripted, u32>>();
    shared::<PolicyError<Broken>>();
    shared::<Refusal>();
    let (clock, _) = clock();
    let policy = Policy::builder().retry(retries(1, SECOND)).hedge(Default::default()).build();
    let policy = policy.expect("the defaults are in range");
    let backend = policy.over_one::<_, u32>(Scripted::echo(&clock)).expect("nothing to refuse");
    moves(&backend.call(Call::new(7)));
}

#[test]
fn two_endpoints_of_one_name_are_a_mistake() {
    let (clock, _) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder().build().expect("nothing is written");
    let twice = [Endpoint::new("a", service.clone()), Endpoint::new("a", service)];
    assert!(policy.over::<_, u32>(twice).is_err_and(|error| !error.is_refusal() && error.field == "name"));
}

#[test]
fn a_call_under_way_is_small() {
    let (clock, _) = clock();
    let policy =
        Policy::builder().retry(retries(1, SECOND)).hedge(Default::default()).clock(clock.clone()).build();
    let backend = policy.expect("in range").over_one(Scripted::echo(&clock)).expect("nothing to refuse");
    // Ten thousand in flight are 20 MB. It was 56 KB each when a layer took the future of the next one.
    let bytes = size_of_val(&backend.call(Call::new(7)));
    assert!(bytes <= 2_048, "{bytes}");
}

#[test]
fn keys_are_bounded_and_those_with_an_open_circuit_are_kept() {
    let (clock, hand) = clock();
    let service =
        Scripted::new(&clock, |request| (MS, if request == 0 { Err(PASSING) } else { Ok(request) }));
    let keys = NonZeroUsize::new(100).expect("it is not zero");
    let policy = Policy::builder().breaker(circuit()).keys_max(keys).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    for _ in 0..4 {
        assert!(run(&hand, backend.call(Call::new(0).key("down"))).is_err());
    }
    for number in 0..500 {
        assert!(run(&hand, backend.call(Call::new(1).key(format!("host {number}")))).is_ok());
    }
    let figures = backend.snapshot();
    assert_eq!((figures.keys, figures.keys_displaced, figures.circuits_open), (100, 0, 1));
}
