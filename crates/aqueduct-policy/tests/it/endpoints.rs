use std::sync::{Arc, Mutex};
use std::time::Duration;

use aqueduct_core::Classified;
use aqueduct_policy::{Call, Endpoint, Event, Policy, PolicyError, RefusedBy};

use crate::{MS, PASSING, SECOND, Scripted, circuit, clock, run};

#[test]
fn an_endpoint_whose_circuit_is_open_is_not_chosen_and_comes_back() {
    for algorithm in [
        aqueduct_balancer::Algorithm::LeastResponseTime,
        aqueduct_balancer::Algorithm::RoundRobin,
        aqueduct_balancer::Algorithm::Ketama,
    ] {
        let (clock, hand) = clock();
        let until = clock.clone();
        let sick = Scripted::new(&clock, move |request| {
            (MS, if until.now().elapsed_since_start() < SECOND * 5 { Err(PASSING) } else { Ok(request) })
        });
        let well = || Scripted::new(&clock, |request| (MS, Ok(request)));
        let (a, b) = (well(), well());
        let balancer =
            aqueduct_balancer::Config::builder().algorithm(algorithm).outliers(None).panic_below(0.0).build();
        let policy = Policy::builder().balancer(balancer.expect("in range")).endpoint_breaker(circuit());
        let policy = policy.clock(clock.clone()).build().expect("in range");
        let backend = policy
            .over([Endpoint::new("a", a), Endpoint::new("sick", sick.clone()), Endpoint::new("b", b)])
            .expect("three names");
        let keys: Vec<String> = (0..30).map(|number| format!("key {number}")).collect();
        let calls = |count: usize| {
            let call = |number: usize| run(&hand, backend.call(Call::new(1).key(keys[number % 30].clone())));
            (0..count).map(call).filter(Result::is_err).count()
        };
        let failed = calls(200);
        assert!(failed <= 4 && calls(200) == 0, "{algorithm:?}: {failed}");
        let before = sick.attempts();
        // Long enough for the memory of its failures to fade.
        hand.advance(SECOND * 60);
        assert_eq!(calls(300), 0);
        assert!(sick.attempts() > before, "{algorithm:?}: it does not come back");
    }
}

#[test]
fn without_an_endpoint_the_call_is_refused_with_the_wait() {
    let (clock, hand) = clock();
    let sick = Scripted::new(&clock, |_| (MS, Err(PASSING)));
    let policy = Policy::builder().endpoint_breaker(circuit()).clock(clock).build().expect("in range");
    let backend =
        policy.over([Endpoint::new("a", sick.clone()), Endpoint::new("b", sick)]).expect("two names");
    let mut refused = None;
    for _ in 0..20 {
        match run(&hand, backend.call(Call::new(1))).expect_err("both are broken") {
            PolicyError::Refused(refusal) => refused = Some(refusal),
            error => assert!(!error.is_refusal() && refused.is_none(), "{error:?}"),
        }
    }
    let refused = refused.expect("both circuits are open");
    assert_eq!(refused.by, RefusedBy::Endpoint);
    assert!(refused.retry_after.is_some_and(|wait| wait > Duration::ZERO && wait <= SECOND), "{refused:?}");
}

#[test]
fn changes_are_told() {
    let (clock, hand) = clock();
    let told = Arc::new(Mutex::new(Vec::new()));
    let service =
        Scripted::new(&clock, |request| (MS, if request == 1 { Err(PASSING) } else { Err(crate::busy(3)) }));
    let sink = Arc::clone(&told);
    let policy = Policy::builder()
        .breaker(circuit())
        .rate_limit(
            aqueduct_ratelimit::Quota::per_second(100).expect("in range"),
            aqueduct_policy::Scope::PerKey,
        )
        .observer(move |event| {
            let text = match event {
                Event::Circuit { key, transition } => format!("{key}: {:?}", transition.to),
                Event::Paused { key, wait } => format!("{key}: {wait:?}"),
                Event::Endpoint(event) => format!("{event:?}"),
            };
            sink.lock().expect("nobody panics").push(text);
        });
    let backend =
        policy.clock(clock).build().expect("in range").over_one(service).expect("nothing to refuse");
    for _ in 0..4 {
        assert!(run(&hand, backend.call(Call::new(1).key("a"))).is_err());
    }
    assert!(run(&hand, backend.call(Call::new(2).key("b"))).is_err());
    assert_eq!(*told.lock().expect("nobody panics"), ["a: Open", "b: 3s"]);
}
