use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_policy::{Call, Policy, PolicyError, RefusedBy, Scope};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::{After, HedgeConfig};

use crate::{Crowd, MS, PASSING, SECOND, Scripted, circuit, clock, retries, run};

fn per_second(tokens: u64, burst: u64) -> Quota {
    Quota::per_second(tokens).and_then(|quota| quota.with_burst(burst)).expect("a test's own")
}

/// In no second are there more than the quota and its burst allow.
fn keeps(times: &[Duration], tokens: usize, burst: usize) {
    for (number, from) in times.iter().enumerate() {
        let within = times[number..].iter().take_while(|at| **at - *from < SECOND).count();
        assert!(within <= tokens + burst, "{within} in the second from {from:?}");
    }
}

#[test]
fn the_quota_is_kept_by_retries_and_hedges_too() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| {
        (MS * (request % 40), if request % 3 == 0 { Err(PASSING) } else { Ok(request) })
    });
    let hedge = HedgeConfig { after: After::Fixed(MS * 20), extra_max: 1 };
    let policy =
        Policy::builder().retry(retries(3, MS)).hedge(hedge).rate_limit(per_second(50, 5), Scope::Shared);
    let backend =
        policy.clock(clock).build().expect("in range").over_one(service.clone()).expect("it may be");
    let mut crowd = Crowd::new();
    for request in 0..300 {
        crowd.join(backend.call(Call::new(request)));
    }
    assert_eq!(crowd.finish(&hand).len(), 300);
    let figures = backend.snapshot();
    assert!(figures.retries > 0 && figures.hedges > 0, "{figures:?}");
    assert_eq!(figures.attempts, service.attempts() as u64);
    keeps(&service.times(), 50, 5);
}

#[test]
fn tokens_are_given_in_the_order_of_asking() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder().rate_limit(per_second(10, 1), Scope::Shared).clock(clock);
    let backend = policy.build().expect("in range").over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..20 {
        crowd.join(backend.call(Call::new(request)));
    }
    let order: Vec<usize> = crowd.finish(&hand).into_iter().map(|(number, _)| number).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    let evenly: Vec<Duration> = (0..20).map(|number| MS * 100 * number).collect();
    assert_eq!(service.times(), evenly);
    let figures = backend.snapshot();
    assert_eq!(figures.token_waits, 19);
    assert_eq!(figures.token_waited, MS * 100 * (1..20).sum::<u32>());
}

#[test]
fn a_wait_that_would_reach_the_deadline_is_refused_at_once() {
    let (clock, _) = clock();
    let policy =
        Policy::builder().deadline(SECOND).rate_limit(per_second(10, 2), Scope::Shared).clock(clock.clone());
    let backend =
        policy.build().expect("in range").over_one(Scripted::echo(&clock)).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..15 {
        crowd.join(backend.call(Call::new(request)));
    }
    crowd.settle();
    // Two at once, nine more within the second; the twelfth would come with its end.
    let refused: Vec<_> = crowd.done.iter().filter(|(_, result)| result.is_err()).collect();
    assert_eq!(refused.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [11, 12, 13, 14]);
    for (_, result) in refused {
        let Err(PolicyError::Refused(refusal)) = result else { panic!("{result:?}") };
        assert_eq!((refusal.by, refusal.retry_after), (RefusedBy::RateLimit, Some(SECOND)));
    }
}

#[test]
fn a_call_that_costs_more_than_there_ever_is_never_passes() {
    let (clock, hand) = clock();
    let policy = Policy::builder().rate_limit(per_second(10, 10), Scope::PerKey).clock(clock.clone());
    let backend =
        policy.build().expect("in range").over_one(Scripted::echo(&clock)).expect("nothing to refuse");
    assert!(run(&hand, backend.call(Call::new(1).cost(10))).is_ok());
    let refused = run(&hand, backend.call(Call::new(1).cost(11))).expect_err("the burst is 10");
    assert_eq!(
        (refused.class(), refused.retry_after(), refused.is_refusal()),
        (ErrorClass::Invalid, None, true)
    );
}

#[test]
fn a_key_without_tokens_holds_up_nobody_else() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder()
        .rate_limit(per_second(100, 1), Scope::Shared)
        .rate_limit(Quota::new(1, SECOND * 60).expect("in range"), Scope::PerKey);
    let backend =
        policy.clock(clock.clone()).build().expect("in range").over_one(service).expect("it may be");
    let mut crowd = Crowd::new();
    for request in 0..10 {
        crowd.join(backend.call(Call::new(request).key("slow")));
    }
    for (request, key) in (10..15).zip(["a", "b", "c", "d", "e"]) {
        crowd.join(backend.call(Call::new(request).key(key)));
    }
    for _ in 0..10 {
        crowd.settle();
        if crowd.done.len() == 6 {
            break;
        }
        hand.advance_to_next();
    }
    assert!(clock.now().elapsed_since_start() <= MS * 60, "{:?}", clock.now());
    let mut done: Vec<usize> = crowd.done.iter().map(|(number, _)| *number).collect();
    done.sort_unstable();
    assert_eq!(done, [0, 10, 11, 12, 13, 14]);
}

#[test]
fn of_two_limits_both_give_or_none() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let hour = SECOND * 3600;
    let policy = Policy::builder()
        .deadline(SECOND)
        .rate_limit(Quota::new(4, hour).expect("in range"), Scope::Shared)
        .rate_limit(Quota::new(3, hour).expect("in range"), Scope::PerKey);
    let backend =
        policy.clock(clock).build().expect("in range").over_one(service).expect("nothing to refuse");
    let call = |key: &'static str| run(&hand, backend.call(Call::new(1).key(key))).is_ok();
    assert!(call("a") && call("a") && call("a"));
    // What the key does not give is not taken of all.
    assert!(!call("a") && !call("a"));
    assert!(call("b"));
    // What all do not give is not taken of the key: 15 minutes later there is one of all, and the key has it still.
    assert!(!call("b") && !call("b") && !call("b"));
    hand.advance(SECOND * 900);
    assert!(call("b") && !call("b"));
}

#[test]
fn a_wait_for_a_token_is_no_slow_call() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS, Ok(request)));
    let circuit = aqueduct_breaker::Config::builder().minimum_calls(2).slow_calls(MS * 10, 0.1).build();
    let policy =
        Policy::builder().breaker(circuit.expect("in range")).rate_limit(per_second(1, 1), Scope::PerKey);
    let backend =
        policy.clock(clock).build().expect("in range").over_one(service).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..10 {
        crowd.join(backend.call(Call::new(request)));
    }
    assert!(crowd.finish(&hand).iter().all(|(_, result)| result.is_ok()));
    assert_eq!(backend.snapshot().circuits_opened, 0);
}

#[test]
fn what_waited_while_the_circuit_opened_is_not_sent_and_gives_its_token_back() {
    let (clock, hand) = clock();
    let broken = Arc::new(AtomicU32::new(4));
    let service = Scripted::new(&clock, move |request| {
        let fails =
            broken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        (MS, if fails { Err(PASSING) } else { Ok(request) })
    });
    let policy = Policy::builder()
        .breaker(circuit())
        .rate_limit(Quota::new(4, SECOND).expect("in range"), Scope::Shared);
    let backend =
        policy.clock(clock).build().expect("in range").over_one(service.clone()).expect("it may be");
    let mut crowd = Crowd::new();
    for request in 0..5 {
        crowd.join(backend.call(Call::new(request)));
    }
    let done = crowd.finish(&hand);
    let Some((4, Err(last))) = done.iter().find(|(number, _)| *number == 4) else { panic!("{done:?}") };
    assert!(last.is_refusal() && service.attempts() == 4, "{last:?}");
    // The token that it had waited for is there at once.
    hand.advance(MS * 751);
    let before = backend.snapshot().token_waits;
    let mut crowd = Crowd::new();
    for request in 0..1 {
        crowd.join(backend.call(Call::new(request)));
    }
    hand.advance(MS * 10);
    assert!(crowd.finish(&hand).iter().all(|(_, result)| result.is_ok()));
    assert_eq!(backend.snapshot().token_waits, before);
}

#[test]
fn a_late_timer_delays_its_own_call_and_no_other() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder().rate_limit(per_second(10, 1), Scope::Shared).clock(clock);
    let backend = policy.build().expect("in range").over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    for request in 0..11 {
        crowd.join(backend.call(Call::new(request)));
    }
    for _ in 0..16 {
        crowd.settle();
        // The timers ring up to 69 ms late.
        hand.advance(MS * 70);
    }
    let times = service.times();
    assert_eq!(times.len(), 11);
    for (due, at) in (0..).map(|number| MS * 100 * number).zip(times) {
        assert!(at >= due && at < due + MS * 70, "{at:?} for {due:?}");
    }
}

#[test]
fn a_newcomer_does_not_overtake_the_line() {
    let (clock, hand) = clock();
    let service = Scripted::echo(&clock);
    let policy = Policy::builder().rate_limit(per_second(10, 1), Scope::Shared).clock(clock);
    let backend = policy.build().expect("in range").over_one(service.clone()).expect("nothing to refuse");
    let mut crowd = Crowd::new();
    crowd.join(backend.call(Call::new(0)));
    crowd.join(backend.call(Call::new(1)));
    crowd.settle();
    // The token of the second is there, and before it is looked at a third comes.
    hand.advance(MS * 100);
    let mut newcomer = std::pin::pin!(backend.call(Call::new(2)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(newcomer.as_mut().poll(&mut context).is_pending());
    crowd.settle();
    assert_eq!(crowd.done.len(), 2);
}
