//! A second attempt beside one that takes long.
//!
//! The rule, the delay and the budget are those of [`aqueduct_retry::Hedge`]; what is raced here are futures of which the
//! compiler knows that they may move between threads, which it cannot tell of async closures in generic code.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, Instant};
use aqueduct_retry::{Advice, After, Budget, HedgeConfig, Latencies, Withdrawal};

/// When to hedge.
#[derive(Debug)]
pub(crate) struct Hedging {
    config: HedgeConfig,
    /// Guards what was measured. Held for a few additions, and now and then for a pass over four kilobytes.
    live: Mutex<Live>,
    /// The percentile in nanoseconds, and [`UNKNOWN`] as long as too little is measured. Written under the lock, read
    /// without it; relaxed, since an old one is as good a guess.
    delay: AtomicU64,
}

#[derive(Debug)]
struct Live {
    latencies: Latencies,
    /// Latencies since the percentile was read.
    unread: u32,
}

/// An attempt of a race.
struct Racer<'a, A> {
    future: Pin<Box<A>>,
    held: Option<Withdrawal<'a>>,
}

const UNKNOWN: u64 = u64::MAX;

/// Reading the percentile costs as much as a few hundred additions; so it adds about twenty to each call.
const READ_EVERY: u32 = 16;

impl Hedging {
    /// Nothing measured. The policy has checked the configuration.
    pub(crate) fn new(config: HedgeConfig, now: Instant) -> Self {
        let (window, delay) = match config.after {
            After::Fixed(delay) => (Duration::from_secs(1), nanos(delay)),
            After::Percentile { window, .. } => (window, UNKNOWN),
        };
        let live = Live { latencies: Latencies::new(window, now), unread: 0 };
        Self { config, live: Mutex::new(live), delay: AtomicU64::new(delay) }
    }

    /// Begins with the attempt of number 0, and with more, from 1 on, as long as none has ended, the delay has passed once
    /// more, and the budget has one.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops every attempt under way.
    pub(crate) async fn race<T, E, F, A>(&self, clock: &Clock, budget: &Budget, attempt: F) -> Result<T, E>
    where
        E: Classified,
        F: Fn(u32) -> A,
        A: Future<Output = Result<T, E>>,
    {
        let begun = clock.now();
        let delay = self.delay();
        let mut racers = vec![Racer { future: Box::pin(attempt(0)), held: None }];
        let mut failed = None;
        let mut extra = 0;
        let mut tick = pin!(delay.map(|delay| clock.sleep(delay)));
        loop {
            let ended = poll_fn(|cx| {
                if let Poll::Ready(ended) = poll_racers(&mut racers, cx) {
                    return Poll::Ready(Some(ended));
                }
                match tick.as_mut().as_pin_mut() {
                    Some(tick) => tick.poll(cx).map(|()| None),
                    None => Poll::Pending,
                }
            });
            let Some((result, held)) = ended.await else {
                tick.set(None);
                if let (Some(delay), Some(held)) = (delay, budget.try_withdraw(clock.now())) {
                    extra += 1;
                    racers.push(Racer { future: Box::pin(attempt(extra)), held: Some(held) });
                    if extra < self.config.extra_max {
                        tick.set(Some(clock.sleep(delay)));
                    }
                }
                continue;
            };
            // What fails must not be called more, and what answers need not be.
            tick.set(None);
            let advice = Advice::of_result(&result);
            let was_sent = !matches!(advice, Advice::Refused { .. });
            if let Some(held) = held.filter(|_| was_sent) {
                held.spend();
            }
            match advice {
                Advice::Stop => {
                    if result.is_ok() {
                        // Where a hedge has won, the first took at least so long, and that is on the right side of the
                        // percentile.
                        self.measured(begun, clock.now());
                    }
                    return result;
                }
                Advice::Refused { .. } if racers.is_empty() => return failed.unwrap_or(result),
                Advice::Refused { .. } => {}
                Advice::Again { .. } if racers.is_empty() => return result,
                Advice::Again { .. } => failed = Some(result),
            }
        }
    }

    fn measured(&self, begun: Instant, now: Instant) {
        let After::Percentile { percentile, samples_min, .. } = self.config.after else { return };
        let mut live = self.live();
        live.latencies.record(now, now.since(begun));
        live.unread += 1;
        if live.unread >= READ_EVERY || self.delay().is_none() {
            live.unread = 0;
            let enough = live.latencies.count() >= u64::from(samples_min);
            let delay = if enough { live.latencies.percentile(percentile) } else { None };
            self.delay.store(delay.map_or(UNKNOWN, nanos), Ordering::Relaxed);
        }
    }

    fn delay(&self) -> Option<Duration> {
        let delay = self.delay.load(Ordering::Relaxed);
        (delay != UNKNOWN).then(|| Duration::from_nanos(delay))
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Ended<'a, O> = (O, Option<Withdrawal<'a>>);

fn poll_racers<'a, A: Future>(
    racers: &mut Vec<Racer<'a, A>>,
    cx: &mut Context<'_>,
) -> Poll<Ended<'a, A::Output>> {
    for index in 0..racers.len() {
        if let Some(racer) = racers.get_mut(index)
            && let Poll::Ready(output) = racer.future.as_mut().poll(cx)
        {
            let mut racer = racers.swap_remove(index);
            return Poll::Ready((output, racer.held.take()));
        }
    }
    Poll::Pending
}

impl<A> Drop for Racer<'_, A> {
    fn drop(&mut self) {
        // It may have been sent, and whoever is not sure has spent it: never more than the budget.
        if let Some(held) = self.held.take() {
            held.spend();
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
