use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, Instant};

use crate::advice::Advice;
use crate::budget::{Budget, Slot};
use crate::config::{After, HedgeConfig};
use crate::error::ConfigError;
use crate::event::{Event, Observer};
use crate::latencies::Latencies;
use crate::metrics::Metrics;
use crate::retry::within;

/// Begins a call a second time when the first attempt takes unusually long, and takes the answer that comes first.
///
/// It is for calls that may be made twice, of something that is slow now and then and not always. Share it in an
/// [`Arc`]. As long as nothing is slow it allocates nothing.
#[derive(Debug)]
pub struct Hedge {
    clock: Clock,
    /// Guards what was measured. Held for a few additions, and now and then for a pass over four kilobytes.
    live: Mutex<Live>,
    /// When to hedge, in nanoseconds, and [`UNKNOWN`] as long as too little is measured. Written under the lock, read
    /// without it. Relaxed, like the next two: an old value is as good a guess.
    delay: AtomicU64,
    /// Until when that is recent, in nanoseconds of the clock.
    valid_until: AtomicU64,
    extra_max: AtomicU32,
    budget: Option<Arc<Budget>>,
    observer: Observer,
    metrics: Option<Metrics>,
}

#[derive(Debug)]
struct Live {
    config: HedgeConfig,
    latencies: Latencies,
    /// Latencies since the percentile was read.
    unread: u32,
}

const UNKNOWN: u64 = u64::MAX;

/// Reading the percentile costs as much as a few hundred additions; so it adds about twenty to each call.
const READ_EVERY: u32 = 16;

impl Hedge {
    /// Hedges as `config` says, on this clock.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: HedgeConfig, clock: Clock) -> Result<Self, ConfigError> {
        config.check()?;
        let latencies = Latencies::new(config.window(), clock.now());
        let hedge = Self {
            clock,
            live: Mutex::new(Live { config, latencies, unread: 0 }),
            delay: AtomicU64::new(UNKNOWN),
            valid_until: AtomicU64::new(0),
            extra_max: AtomicU32::new(0),
            budget: None,
            observer: Observer::default(),
            metrics: None,
        };
        hedge.publish(&mut hedge.live());
        Ok(hedge)
    }

    /// Lets hedges, together with the retries of everybody who shares the budget, be a bounded share of the calls.
    ///
    /// [`Hedge::call`] counts its calls in it. Within a [`Retry`](crate::Retry) that shares it, take
    /// [`Hedge::attempt_with`], or each call counts twice.
    #[must_use]
    pub fn with_budget(self, budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Tells `observer` of each hedge, on the task that calls and outside of any lock.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { observer: Observer::new(observer), ..self }
    }

    /// Counts what happens.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Hedges differently from now on. What was measured is kept, unless the window changes.
    ///
    /// # Errors
    ///
    /// As [`Hedge::new`]; nothing has changed then.
    pub fn set_config(&self, config: HedgeConfig) -> Result<(), ConfigError> {
        config.check()?;
        let mut live = self.live();
        if config.window() != live.config.window() {
            live.latencies = Latencies::new(config.window(), self.clock.now());
        }
        live.config = config;
        self.publish(&mut live);
        Ok(())
    }

    /// Gives the time after which a second attempt would begin now; `None` as long as too little is measured.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        self.delay_at(self.clock.now())
    }

    /// Makes a call; it gets the number of the attempt, 1 for the first and from 2 on for those beside it. They may
    /// run at the same time.
    ///
    /// An error that does not go away ends the call at once. One that may is given back when no other attempt is
    /// under way, and waits for that attempt otherwise; nothing further is begun then.
    ///
    /// # Errors
    ///
    /// Those of the call, untouched.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops every attempt that is under way.
    ///
    /// # Panics
    ///
    /// A system clock needs the time driver of a tokio runtime.
    pub async fn call<T, E, F>(&self, call: F) -> Result<T, E>
    where
        E: Classified,
        F: AsyncFn(u32) -> Result<T, E>,
    {
        self.call_with(Advice::of_result, call).await
    }

    /// Makes a call, and lets `judge` say what each result is worth. A hedge that is refused was not made: the first
    /// attempt goes on, and the budget gets its own back.
    ///
    /// # Errors
    ///
    /// As [`Hedge::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Hedge::call`].
    pub async fn call_with<T, E, F, J>(&self, judge: J, call: F) -> Result<T, E>
    where
        F: AsyncFn(u32) -> Result<T, E>,
        J: Fn(&Result<T, E>) -> Advice,
    {
        let (result, advice) = self.race(judge, call).await;
        if let Some(budget) = &self.budget
            && !matches!(advice, Advice::Refused { .. })
        {
            budget.deposit(self.clock.coarse());
        }
        result
    }

    /// Makes one attempt of a call that a [`Retry`](crate::Retry) repeats. It is [`Hedge::call_with`], only that the
    /// call is not counted in the budget a second time.
    ///
    /// # Errors
    ///
    /// As [`Hedge::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Hedge::call`].
    pub async fn attempt_with<T, E, F, J>(&self, judge: J, call: F) -> Result<T, E>
    where
        F: AsyncFn(u32) -> Result<T, E>,
        J: Fn(&Result<T, E>) -> Advice,
    {
        self.race(judge, call).await.0
    }

    /// Makes the attempts, and gives the result with what it is worth.
    async fn race<T, E, F, J>(&self, judge: J, call: F) -> (Result<T, E>, Advice)
    where
        F: AsyncFn(u32) -> Result<T, E>,
        J: Fn(&Result<T, E>) -> Advice,
    {
        let begun = self.clock.now();
        let mut first = pin!(call(1));
        let Some(delay) = self.delay_at(begun) else {
            return self.alone(begun, &judge, first.await);
        };
        if let Some(result) = within(&self.clock, delay, first.as_mut()).await {
            return self.alone(begun, &judge, result);
        }
        let mut running = Running { first: Some(first), others: Vec::new() };
        let mut tick = pin!(None);
        let (mut number, mut more) = (1, true);
        let mut failed = None;
        loop {
            more = more && number <= self.extra_max.load(Ordering::Relaxed);
            match if more { self.withdraw() } else { None } {
                Some(slot) => {
                    number += 1;
                    self.hedged(number, begun);
                    running.others.push(Other { number, slot, future: Box::pin(call(number)) });
                    tick.set(Some(self.clock.sleep(delay)));
                }
                None => {
                    more = false;
                    tick.set(None);
                }
            }
            let Some((ended, result)) = running.next(tick.as_mut()).await else { continue };
            // What fails must not be called more, and what answers need not be.
            more = false;
            let advice = judge(&result);
            match advice {
                Advice::Stop => {
                    if result.is_ok() {
                        // Where a hedge has won, the first attempt took at least so long; that is more than the
                        // percentile, so it counts on the right side of it.
                        self.measured(begun);
                        self.won(ended.number);
                    }
                    return (result, advice);
                }
                Advice::Refused { .. } => {
                    if let (Some(budget), Some(slot)) = (&self.budget, ended.slot) {
                        budget.give_back(slot);
                    }
                    if running.is_over() {
                        return failed.unwrap_or((result, advice));
                    }
                }
                Advice::Again { .. } => {
                    if running.is_over() {
                        return (result, advice);
                    }
                    failed = Some((result, advice));
                }
            }
        }
    }

    /// Ends a call that was not hedged.
    fn alone<T, E>(
        &self,
        begun: Instant,
        judge: &impl Fn(&Result<T, E>) -> Advice,
        result: Result<T, E>,
    ) -> (Result<T, E>, Advice) {
        let advice = judge(&result);
        if result.is_ok() && advice == Advice::Stop {
            self.measured(begun);
        }
        (result, advice)
    }

    /// Takes a hedge from the budget: `None` when there is none, and nothing to give back without a budget.
    fn withdraw(&self) -> Option<Option<Slot>> {
        match &self.budget {
            None => Some(None),
            Some(budget) => budget.withdraw(self.clock.now()).map(Some),
        }
    }

    fn hedged(&self, attempt: u32, begun: Instant) {
        if let Some(metrics) = &self.metrics {
            metrics.hedged();
        }
        self.observer.tell(Event::Hedged { attempt, after: self.clock.now().since(begun) });
    }

    fn won(&self, attempt: u32) {
        if attempt == 1 {
            return;
        }
        if let Some(metrics) = &self.metrics {
            metrics.hedge_won();
        }
        self.observer.tell(Event::HedgeWon { attempt });
    }

    /// Notes how long the first attempt of a call took.
    fn measured(&self, begun: Instant) {
        let now = self.clock.now();
        let mut live = self.live();
        if !matches!(live.config.after, After::Percentile { .. }) {
            return;
        }
        live.latencies.record(now, now.since(begun));
        live.unread += 1;
        let unknown = self.delay.load(Ordering::Relaxed) == UNKNOWN;
        let stale = nanos(now.elapsed_since_start()) >= self.valid_until.load(Ordering::Relaxed);
        if unknown || stale || live.unread >= READ_EVERY {
            self.publish(&mut live);
        }
    }

    fn publish(&self, live: &mut Live) {
        live.unread = 0;
        let (delay, valid_until) = match live.config.after {
            After::Fixed(delay) => (Some(delay), Duration::MAX),
            After::Percentile { percentile, samples_min, .. } => {
                let enough = live.latencies.count() >= u64::from(samples_min);
                let delay = if enough { live.latencies.percentile(percentile) } else { None };
                (delay, live.latencies.valid_until().elapsed_since_start())
            }
        };
        self.delay.store(delay.map_or(UNKNOWN, nanos), Ordering::Relaxed);
        self.valid_until.store(nanos(valid_until), Ordering::Relaxed);
        self.extra_max.store(live.config.extra_max, Ordering::Relaxed);
    }

    fn delay_at(&self, now: Instant) -> Option<Duration> {
        let delay = self.delay.load(Ordering::Relaxed);
        let recent = nanos(now.elapsed_since_start()) < self.valid_until.load(Ordering::Relaxed);
        (delay != UNKNOWN && recent).then(|| Duration::from_nanos(delay))
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole figures.
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempts of one call that are under way.
struct Running<'a, F> {
    first: Option<Pin<&'a mut F>>,
    others: Vec<Other<F>>,
}

struct Other<F> {
    number: u32,
    slot: Option<Slot>,
    future: Pin<Box<F>>,
}

/// An attempt that has ended.
struct Ended {
    number: u32,
    /// What was withdrawn for it.
    slot: Option<Slot>,
}

impl<F: Future> Running<'_, F> {
    fn is_over(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    /// Waits for the next end, or for the tick, which gives `None`.
    async fn next<S>(&mut self, mut tick: Pin<&mut Option<S>>) -> Option<(Ended, F::Output)>
    where
        S: Future<Output = ()>,
    {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(end) = self.poll_ends(cx) {
                return Poll::Ready(Some(end));
            }
            match tick.as_mut().as_pin_mut() {
                Some(tick) => tick.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn poll_ends(&mut self, cx: &mut Context<'_>) -> Poll<(Ended, F::Output)> {
        if let Some(first) = &mut self.first
            && let Poll::Ready(output) = first.as_mut().poll(cx)
        {
            self.first = None;
            return Poll::Ready((Ended { number: 1, slot: None }, output));
        }
        for index in 0..self.others.len() {
            if let Some(other) = self.others.get_mut(index)
                && let Poll::Ready(output) = other.future.as_mut().poll(cx)
            {
                let other = self.others.swap_remove(index);
                return Poll::Ready((Ended { number: other.number, slot: other.slot }, output));
            }
        }
        Poll::Pending
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
