use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Timestamp};
use aqueduct_ratelimit::{KeyedRateLimiter, Quota, RateLimiter, Reason};

fn limiter(per_second: u64) -> (Arc<RateLimiter>, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let quota = Quota::per_second(per_second).and_then(|quota| quota.with_burst(1)).expect("a test's own");
    (Arc::new(RateLimiter::token_bucket(quota, clock.clone())), clock, hand)
}

/// Lets every task that can go on go on.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn those_who_wait_are_served_in_order_and_on_time() {
    let (limiter, clock, hand) = limiter(200);
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..8 {
        let (limiter, served, clock) = (Arc::clone(&limiter), Arc::clone(&served), clock.clone());
        tasks.push(tokio::spawn(async move {
            limiter.acquire().await.expect("one is always given in the end");
            served.lock().expect("nobody panics").push((number, clock.now().elapsed_since_start()));
        }));
        settle().await;
    }
    while hand.advance_to_next().is_some() {
        settle().await;
        // Only the first of the line waits for a time; the others wait for it.
        assert!(hand.waiting() <= 1);
    }
    let ideal: Vec<_> = (0..8).map(|number| (number, Duration::from_millis(5 * number))).collect();
    assert_eq!(*served.lock().expect("nobody panics"), ideal);
}

#[tokio::test]
async fn one_who_stops_waiting_has_used_nothing_and_the_next_moves_up() {
    let (limiter, clock, hand) = limiter(10);
    limiter.check().expect("the burst");
    let mut first = Box::pin(limiter.acquire());
    assert!(poll(first.as_mut()).is_pending());
    let second = tokio::spawn({
        let (limiter, clock) = (Arc::clone(&limiter), clock.clone());
        async move {
            limiter.acquire().await.expect("one is always given in the end");
            clock.now().elapsed_since_start()
        }
    });
    settle().await;
    hand.advance(Duration::from_millis(50));
    drop(first);
    settle().await;
    hand.advance(Duration::from_millis(50));
    settle().await;
    assert_eq!(second.await.expect("it does not panic"), Duration::from_millis(100));
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_wait_with_a_bound_ends_with_it() {
    let (limiter, _clock, hand) = limiter(1);
    limiter.check().expect("the burst");
    let mut within = pin!(limiter.acquire_within(1, Duration::from_millis(400)));
    assert!(poll(within.as_mut()).is_pending());
    hand.advance(Duration::from_millis(400));
    let denied = within.await.expect_err("the token comes later");
    assert_eq!((denied.reason, denied.retry_after), (Reason::Wait, Some(Duration::from_millis(600))));

    let mut within = pin!(limiter.acquire_within(1, Duration::from_millis(700)));
    assert!(poll(within.as_mut()).is_pending());
    hand.advance(Duration::from_millis(600));
    assert!(within.await.is_ok());
}

#[tokio::test]
async fn what_never_comes_is_not_waited_for() {
    let (limiter, _clock, _hand) = limiter(1);
    assert_eq!(limiter.acquire_n(2).await.expect_err("the burst is one").reason, Reason::TooLarge);
}

#[tokio::test]
async fn a_drain_makes_the_line_wait_longer() {
    let (limiter, clock, hand) = limiter(10);
    limiter.check().expect("the burst");
    let task = tokio::spawn({
        let (limiter, clock) = (Arc::clone(&limiter), clock.clone());
        async move {
            limiter.acquire().await.expect("one is always given in the end");
            clock.now().elapsed_since_start()
        }
    });
    settle().await;
    limiter.drain(Duration::from_secs(5));
    while hand.advance_to_next().is_some() {
        settle().await;
    }
    assert_eq!(task.await.expect("it does not panic"), Duration::from_secs(5));
}

#[tokio::test]
async fn keys_wait_in_lines_of_their_own() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let quota = Quota::per_second(10).and_then(|quota| quota.with_burst(1)).expect("a test's own");
    let limiter: Arc<KeyedRateLimiter<String>> =
        Arc::new(KeyedRateLimiter::new(quota, std::num::NonZeroUsize::MIN.saturating_add(9), clock.clone()));
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (number, key) in ["a", "a", "b", "a", "b"].into_iter().enumerate() {
        let (limiter, served, clock) = (Arc::clone(&limiter), Arc::clone(&served), clock.clone());
        tasks.push(tokio::spawn(async move {
            limiter.acquire_n(key, 1).await.expect("one is always given in the end");
            served
                .lock()
                .expect("nobody panics")
                .push((clock.now().elapsed_since_start().as_millis(), number));
        }));
        settle().await;
    }
    // The fourth gives up.
    tasks[3].abort();
    while hand.advance_to_next().is_some() {
        settle().await;
    }
    let mut served = served.lock().expect("nobody panics").clone();
    served.sort_unstable();
    assert_eq!(served, [(0, 0), (0, 2), (100, 1), (100, 4)]);
}

#[tokio::test]
async fn a_late_timer_delays_its_own_call_and_no_other() {
    for by_key in [false, true] {
        let (limiter, clock, hand) = limiter(200);
        let one = std::num::NonZeroUsize::MIN;
        let keyed = Arc::new(KeyedRateLimiter::new(limiter.quota(), one, clock.clone()));
        let mut tasks = Vec::new();
        for _ in 0..8 {
            let (limiter, keyed, clock) = (Arc::clone(&limiter), Arc::clone(&keyed), clock.clone());
            tasks.push(tokio::spawn(async move {
                let given = if by_key { keyed.acquire_n(&1_u64, 1).await } else { limiter.acquire().await };
                given.expect("one is always given in the end");
                clock.now().elapsed_since_start()
            }));
            settle().await;
        }
        while hand.advance_to_next().is_some() {
            // Whoever wakes sees that it is late.
            hand.advance(Duration::from_millis(1));
            settle().await;
        }
        for (at, task) in (0..).zip(tasks) {
            let due = Duration::from_millis(5) * at;
            let late = task.await.expect("it does not panic") - due;
            assert!(late <= Duration::from_millis(1), "{late:?} late, the {at}th that waited");
        }
    }
}
