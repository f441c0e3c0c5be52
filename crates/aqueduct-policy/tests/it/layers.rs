use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_policy::{Call, Policy, PolicyError, RefusedBy, Scope};
use aqueduct_ratelimit::Quota;

use crate::{Broken, MS, PASSING, SECOND, Scripted, broken, busy, circuit, clock, retries, run};

#[test]
fn what_failed_in_passing_is_tried_again() {
    let (clock, hand) = clock();
    let left = Arc::new(AtomicU32::new(2));
    let service = Scripted::new(&clock, move |request| {
        let fails =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        (MS, if fails { Err(PASSING) } else { Ok(request) })
    });
    let policy = Policy::builder().retry(retries(3, SECOND)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    let answered = run(&hand, backend.call_counted(Call::new(7))).expect("the third succeeds");
    assert_eq!((answered.response, answered.attempts), (7, 3));
    let figures = backend.snapshot();
    assert_eq!((figures.calls, figures.attempts, figures.retries, figures.succeeded), (1, 3, 2, 1));
}

#[test]
fn what_does_not_go_away_or_may_not_be_repeated_is_made_once() {
    for (error, repeatable) in [
        (broken(ErrorClass::Permanent), true),
        (broken(ErrorClass::Invalid), true),
        (broken(ErrorClass::Cancelled), true),
        (PASSING, false),
    ] {
        let (clock, hand) = clock();
        let service = Scripted::new(&clock, move |_| (MS, Err(error)));
        let policy = Policy::builder().retry(retries(3, SECOND)).clock(clock).build().expect("in range");
        let backend = policy.over_one(service.clone()).expect("nothing to refuse");
        let failed = run(&hand, backend.call(Call::new(7).repeatable(repeatable)));
        assert!(
            matches!(failed, Err(PolicyError::Failed { attempts: 1, source }) if source == error),
            "{error:?}"
        );
        assert_eq!(service.attempts(), 1);
    }
}

#[test]
fn a_refusal_uses_nothing_and_says_how_long_to_wait() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(PASSING)));
    let policy = Policy::builder().breaker(circuit()).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for _ in 0..4 {
        assert!(run(&hand, backend.call(Call::new(7).key("a"))).is_err());
    }
    let refused = run(&hand, backend.call(Call::new(7).key("a"))).expect_err("the circuit is open");
    assert!(refused.is_refusal() && refused.retry_after() == Some(SECOND), "{refused:?}");
    assert_eq!((refused.attempts(), service.attempts()), (0, 4));
    assert!(run(&hand, backend.call(Call::new(7).key("b"))).is_err_and(|error| !error.is_refusal()));
    let figures = backend.snapshot();
    assert_eq!((figures.refused_by_circuit, figures.circuits_open, figures.circuits_opened), (1, 1, 1));
    assert_eq!(figures.circuits.first().map(|(key, _)| key.as_str()), Some("a"));
}

#[test]
fn a_refusal_after_some_attempts_keeps_them() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(PASSING)));
    let builder = Policy::builder().breaker(circuit()).retry(retries(9, MS)).clock(clock);
    let backend = builder.build().expect("in range").over_one(service).expect("nothing to refuse");
    let refused = run(&hand, backend.call(Call::new(7))).expect_err("the circuit opens after four");
    assert!(refused.is_refusal());
    assert_eq!(refused.attempts(), 4);
    // 10 a second for 10 s and a fifth of one call, less the three retries: what was refused was given back.
    assert_eq!(backend.snapshot().budget_left, Some(97));
}

#[test]
fn what_the_service_itself_refuses_is_no_attempt() {
    let (clock, hand) = clock();
    let full = Broken { refusal: true, ..busy(2) };
    let service = Scripted::new(&clock, move |_| (MS, Err(full)));
    let quota = Quota::per_second(1).expect("in range");
    let builder = Policy::builder().breaker(circuit()).retry(retries(9, MS)).rate_limit(quota, Scope::Shared);
    let backend =
        builder.clock(clock).build().expect("in range").over_one(service).expect("nothing to refuse");
    for _ in 0..10 {
        let refused = run(&hand, backend.call(Call::new(7))).expect_err("the pool is full");
        let PolicyError::Refused(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!(
            (refusal.by, refusal.attempts, refusal.retry_after),
            (RefusedBy::Service, 0, Some(SECOND * 2))
        );
    }
    let figures = backend.snapshot();
    assert_eq!((figures.attempts, figures.circuits_opened, figures.token_waits), (0, 0, 0));
    assert_eq!(figures.budget_left, Some(100));
}

#[test]
fn too_many_requests_pauses_the_key_and_not_the_circuit() {
    let (clock, hand) = clock();
    let first = Arc::new(AtomicU32::new(0));
    let service = Scripted::new(&clock, move |request| match first.fetch_add(1, Ordering::Relaxed) {
        0 => (MS, Err(busy(5))),
        _ => (MS, Ok(request)),
    });
    let quota = Quota::per_second(100).expect("in range");
    let builder = Policy::builder().breaker(circuit()).rate_limit(quota, Scope::PerKey).deadline(SECOND * 3);
    let backend =
        builder.clock(clock).build().expect("in range").over_one(service.clone()).expect("it may be");
    assert!(run(&hand, backend.call(Call::new(7).key("a"))).is_err_and(|error| !error.is_refusal()));
    let refused =
        run(&hand, backend.call(Call::new(7).key("a"))).expect_err("it rests longer than the deadline");
    assert!(refused.is_refusal() && refused.retry_after() == Some(SECOND * 5), "{refused:?}");
    assert!(run(&hand, backend.call(Call::new(7).key("b"))).is_ok());
    hand.advance(SECOND * 5);
    assert!(run(&hand, backend.call(Call::new(7).key("a"))).is_ok());
    assert_eq!(backend.snapshot().circuits_opened, 0);
}

/// A bucket that filled while the key rested gave its burst at the end of each rest, and got the next 429 for it.
#[test]
fn after_a_pause_a_quota_of_all_begins_with_an_empty_bucket() {
    let (clock, hand) = clock();
    let first = Arc::new(AtomicU32::new(0));
    let service = Scripted::new(&clock, move |request| match first.fetch_add(1, Ordering::Relaxed) {
        0 => (MS, Err(busy(5))),
        _ => (MS, Ok(request)),
    });
    let quota = Quota::per_second(10).expect("in range");
    let policy = Policy::builder().rate_limit(quota, Scope::Shared).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for number in 0..9 {
        let _ = run(&hand, backend.call(Call::new(number)));
    }
    let times = service.times();
    let gaps: Vec<std::time::Duration> = times.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    assert!(times[1] >= SECOND * 5, "{times:?}");
    assert!(gaps.iter().all(|gap| *gap >= SECOND / 10), "{gaps:?}");
}

#[test]
fn too_many_requests_opens_no_circuit_however_often() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |_| (MS, Err(broken(ErrorClass::Overload))));
    let policy = Policy::builder().breaker(circuit()).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for _ in 0..20 {
        assert!(run(&hand, backend.call(Call::new(7))).is_err_and(|error| !error.is_refusal()));
    }
    assert_eq!((service.attempts(), backend.snapshot().circuits_opened), (20, 0));
}

#[test]
fn an_answer_that_says_no_lets_a_half_open_circuit_close() {
    let (clock, hand) = clock();
    let sound = clock.clone();
    let service = Scripted::new(&clock, move |_| {
        let class = if sound.now().elapsed_since_start() < SECOND {
            ErrorClass::Transient
        } else {
            ErrorClass::Permanent
        };
        (MS, Err(broken(class)))
    });
    let policy = Policy::builder().breaker(circuit()).clock(clock).build().expect("in range");
    let backend = policy.over_one(service).expect("nothing to refuse");
    for _ in 0..4 {
        assert!(run(&hand, backend.call(Call::new(7))).is_err());
    }
    assert_eq!(backend.snapshot().circuits_open, 1);
    hand.advance(SECOND * 2);
    assert!(run(&hand, backend.call(Call::new(7))).is_err());
    assert_eq!(backend.snapshot().circuits_open, 0);
}
