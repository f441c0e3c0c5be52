use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aqueduct_policy::{Call, Policy};
use aqueduct_retry::{After, HedgeConfig};

use crate::{MS, SECOND, Scripted, clock, run, share};

#[test]
fn the_first_answer_counts_and_the_other_attempt_is_dropped() {
    let (clock, hand) = clock();
    let first = Arc::new(AtomicU32::new(0));
    let service = Scripted::new(&clock, move |request| match first.fetch_add(1, Ordering::Relaxed) {
        0 => (SECOND * 60, Ok(request)),
        _ => (MS, Ok(request)),
    });
    let hedge = HedgeConfig { after: After::Fixed(MS * 50), extra_max: 1 };
    let policy = Policy::builder().hedge(hedge).clock(clock.clone()).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    let answered = run(&hand, backend.call_counted(Call::new(7))).expect("the hedge answers");
    assert_eq!((answered.response, answered.attempts), (7, 2));
    assert_eq!(clock.now().elapsed_since_start(), MS * 51);
    let figures = backend.snapshot();
    assert_eq!((figures.attempts, figures.hedges, figures.retries), (2, 1, 0));
}

#[test]
fn hedges_are_a_share_of_the_calls() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (MS * 100, Ok(request)));
    let hedge = HedgeConfig { after: After::Fixed(MS * 50), extra_max: 3 };
    let policy = Policy::builder().hedge(hedge).budget(share(0.1)).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for request in 0..200 {
        assert!(run(&hand, backend.call(Call::new(request))).is_ok());
    }
    let figures = backend.snapshot();
    assert!((10..=20).contains(&figures.hedges), "{figures:?}");
}

#[test]
fn a_percentile_hedges_only_what_is_slower_than_nearly_all() {
    let (clock, hand) = clock();
    let service =
        Scripted::new(&clock, |request| (if request % 50 == 49 { SECOND } else { MS * 10 }, Ok(request)));
    let after = After::Percentile { percentile: 0.95, samples_min: 40, window: SECOND * 60 };
    let hedge = HedgeConfig { after, extra_max: 1 };
    let policy = Policy::builder().hedge(hedge).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    for request in 0..500 {
        assert!(run(&hand, backend.call(Call::new(request))).is_ok());
    }
    assert_eq!(backend.snapshot().hedges, 10);
}

#[test]
fn what_may_not_be_repeated_is_not_hedged() {
    let (clock, hand) = clock();
    let service = Scripted::new(&clock, |request| (SECOND, Ok(request)));
    let hedge = HedgeConfig { after: After::Fixed(MS), extra_max: 1 };
    let policy = Policy::builder().hedge(hedge).clock(clock).build().expect("in range");
    let backend = policy.over_one(service.clone()).expect("nothing to refuse");
    assert!(run(&hand, backend.call(Call::new(1).repeatable(false))).is_ok());
    assert_eq!(service.attempts(), 1);
}
