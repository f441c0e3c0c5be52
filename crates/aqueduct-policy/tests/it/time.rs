use std::time::Duration;

use aqueduct_core::Classified;
use aqueduct_policy::{Call, Concurrency, Policy, PolicyError, Scope};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::Deadline;

use crate::{MS, PASSING, SECOND, Scripted, busy, circuit, clock, retries, run};

#[test]
fn no_call_takes_longer_than_its_deadline_wherever_it_waits() {
    let (clock, hand) = clock();
    let slow = Scripted::new(&clock, |request| (SECOND * 60, Ok(request)));
    let policy = Policy::builder().deadline(SECOND).retry(retries(3, MS)).concurrency(Concurrency::fixed(1));
    let backend =
        policy.clock(clock.clone()).build().expect("in range").over_one(slow).expect("nothing to refuse");
    let over = run(&hand, backend.call(Call::new(1))).expect_err("it takes a minute");
    assert!(matches!(over, PolicyError::Deadline { attempts: 1, last: None }), "{over:?}");
    assert_eq!(clock.now().elapsed_since_start(), SECOND);

    let mut crowd = crate::Crowd::new();
    crowd.join(backend.call(Call::new(1)));
    crowd.join(backend.call(Call::new(2).deadline(Deadline::after(clock.now(), MS * 500))));
    let done = crowd.finish(&hand);
    assert!(
        matches!(
            done.as_slice(),
            [
                (1, Err(PolicyError::Deadline { attempts: 0, .. })),
                (0, Err(PolicyError::Deadline { attempts: 1, .. }))
            ]
        ),
        "{done:?}"
    );
    assert_eq!(backend.snapshot().in_flight, 0);
}

#[test]
fn the_deadline_keeps_the_last_error() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS * 300, Err(PASSING)));
    let policy = Policy::builder().deadline(SECOND).retry(retries(9, MS * 100)).clock(clock);
    let backend = policy.build().expect("in range").over_one(service).expect("nothing to refuse");
    // 0.3, 0.7 and 1.1 s: the third is dropped.
    let over = run(&hand, backend.call(Call::new(1))).expect_err("it never succeeds");
    assert!(matches!(over, PolicyError::Deadline { attempts: 3, last: Some(PASSING) }), "{over:?}");
}

#[test]
fn a_call_may_bring_an_earlier_deadline() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (SECOND * 60, Ok(request)));
    let policy = Policy::builder().deadline(SECOND * 10).clock(clock.clone()).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    let call = Call::new(1).deadline(Deadline::after(clock.now(), SECOND));
    assert!(matches!(run(&hand, backend.call(call)), Err(PolicyError::Deadline { .. })));
    assert_eq!(clock.now().elapsed_since_start(), SECOND);
}

#[test]
fn an_attempt_that_takes_too_long_has_failed_in_passing() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (SECOND * 60, Ok(request)));
    let policy = Policy::builder().attempt_timeout(SECOND).retry(retries(3, SECOND)).breaker(circuit());
    let backend =
        policy.clock(clock.clone()).build().expect("in range").over_one(service).expect("it may be");
    let late = run(&hand, backend.call(Call::new(1))).expect_err("it takes a minute");
    assert!(matches!(late, PolicyError::TimedOut { attempts: 4 }), "{late:?}");
    assert_eq!(clock.now().elapsed_since_start(), SECOND * 7);
    let figures = backend.snapshot();
    assert_eq!((figures.timeouts, figures.circuits_opened, figures.retries), (4, 1, 3));
    assert!(run(&hand, backend.call(Call::new(1))).is_err_and(|error| error.is_refusal()));
}

#[test]
fn a_long_wait_for_the_first_token_is_no_reason_not_to_retry() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(PASSING)));
    let quota = Quota::new(1, SECOND * 60).expect("in range");
    // The schedule begins no retry after 30 s.
    let policy = Policy::builder().retry(retries(1, MS)).rate_limit(quota, Scope::Shared).clock(clock);
    let backend = policy.build().expect("in range").over_one(service.clone()).expect("nothing to refuse");
    for _ in 0..2 {
        assert!(run(&hand, backend.call(Call::new(1))).is_err_and(|error| error.attempts() == 2));
    }
    assert_eq!(service.times(), [0, 60, 120, 180].map(|at| SECOND * at));
}

#[test]
fn a_wait_that_is_asked_for_is_waited_for() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(busy(7))));
    let policy = Policy::builder().retry(retries(1, MS)).clock(clock);
    let backend = policy.build().expect("in range").over_one(service.clone()).expect("nothing to refuse");
    assert!(run(&hand, backend.call(Call::new(1))).is_err_and(|error| error.attempts() == 2));
    assert_eq!(service.times(), [Duration::ZERO, MS + SECOND * 7]);
}
