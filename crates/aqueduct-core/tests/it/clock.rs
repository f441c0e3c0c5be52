use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};

#[test]
fn a_timestamp_reads_as_rfc_3339() {
    for (millis, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_795_218_709_123, "2026-11-20T23:51:49.123Z"),
        (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
    ] {
        assert_eq!(Timestamp(millis).to_string(), text);
    }
}

#[tokio::test]
async fn a_manual_clock_wakes_sleepers_in_order_of_their_deadlines() {
    let (clock, owner) = Clock::manual(Timestamp(0));
    let (sender, mut woken) = tokio::sync::mpsc::channel(8);
    for seconds in [3_u64, 1, 2] {
        let (clock, sender) = (clock.clone(), sender.clone());
        tokio::spawn(async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            sender.send(seconds).await.unwrap();
        });
    }
    while owner.waiting() < 3 {
        tokio::task::yield_now().await;
    }
    for expected in [1, 2, 3] {
        assert_eq!(owner.advance_to_next(), Some(Duration::from_secs(1)));
        assert_eq!(woken.recv().await, Some(expected));
    }
    assert_eq!(owner.advance_to_next(), None);
    assert_eq!(clock.wall(), Timestamp(3000));
}

#[tokio::test]
async fn a_cancelled_sleep_does_not_hold_the_clock_back() {
    let (clock, owner) = Clock::manual(Timestamp(0));
    {
        let sleep = clock.sleep(Duration::from_secs(1));
        tokio::pin!(sleep);
        tokio::select! {
            biased;
            () = &mut sleep => panic!("nobody moved the clock"),
            () = std::future::ready(()) => {}
        }
    }
    assert_eq!(owner.waiting(), 0);
    assert_eq!(owner.advance_to_next(), None);
}

#[test]
fn a_manual_clock_knows_of_work_that_does_not_wait_for_it() {
    let (clock, manual) = Clock::manual(Timestamp(0));
    assert!(!manual.is_busy());
    let (one, other) = (clock.busy(), clock.clone().busy());
    drop(one);
    assert!(manual.is_busy());
    drop(other);
    assert!(!manual.is_busy());
    drop(Clock::system().busy());
}

#[test]
fn the_ticks_never_run_ahead() {
    let clock = Clock::system();
    let mut last = clock.coarse();
    for _ in 0..10_000 {
        let coarse = clock.coarse();
        assert!(coarse >= last && coarse <= clock.now());
        last = coarse;
    }
    let (manual, hand) = Clock::manual(Timestamp(0));
    hand.advance(Duration::from_secs(1));
    assert_eq!(manual.coarse(), manual.now());
}
