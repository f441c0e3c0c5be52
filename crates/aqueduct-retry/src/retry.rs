use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, Instant, Random};

use crate::advice::Advice;
use crate::budget::{Budget, Slot};
use crate::config::Config;
use crate::course::Course;
use crate::deadline::Deadline;
use crate::error::{CallError, ConfigError, Ended};
use crate::event::{Event, Observer};
use crate::metrics::Metrics;
use crate::schedule::{Limit, Next};

/// Makes calls, and makes them again when they failed in passing.
///
/// Share it in an [`Arc`]. A call that succeeds at once takes no lock and allocates nothing; one whose time is bounded,
/// or that is repeated, allocates once.
#[derive(Debug)]
pub struct Retry {
    clock: Clock,
    /// Guards what a failure needs. Held while the next delay is computed.
    live: Mutex<Live>,
    /// The two times of the configuration in nanoseconds, or [`NONE`]. Written under the lock, read without it.
    /// Relaxed: each is right by itself, and a call that begins while they change may see one of each.
    time_max: AtomicU64,
    attempt_time_max: AtomicU64,
    /// Whether a call can begin without reading the exact time; see [`Retry::plain`].
    plain: AtomicBool,
    budget: Option<Arc<Budget>>,
    observer: Observer,
    metrics: Option<Metrics>,
}

#[derive(Debug)]
struct Live {
    config: Config,
    random: Random,
}

/// No time limit.
const NONE: u64 = u64::MAX;

/// Within this much time 10 ms, the grain of the last timer tick, are one in a hundred or less.
const COARSE_FROM: Duration = Duration::from_secs(1);

impl Retry {
    /// Calls as `config` says, on this clock.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::checked(config, clock))
    }

    fn checked(config: Config, clock: Clock) -> Self {
        let retry = Self {
            clock,
            live: Mutex::new(Live { config, random: Random::seeded(0) }),
            time_max: AtomicU64::new(NONE),
            attempt_time_max: AtomicU64::new(NONE),
            plain: AtomicBool::new(false),
            budget: None,
            observer: Observer::default(),
            metrics: None,
        };
        retry.publish(&config);
        retry
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Takes chance from this seed. Callers of one service on many machines want different ones; without jitter
    /// nothing is left to chance.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.live().random = Random::seeded(seed);
        self
    }

    /// Lets the retries of everybody who shares the budget be a bounded share of their calls.
    #[must_use]
    pub fn with_budget(self, budget: Arc<Budget>) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// Tells `observer` what happens, on the task that calls and outside of any lock.
    #[must_use]
    pub fn with_observer(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { observer: Observer::new(observer), ..self }
    }

    /// Counts what happens.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Gives the configuration.
    #[must_use]
    pub fn config(&self) -> Config {
        self.live().config
    }

    /// Behaves differently from now on. A call that is under way keeps its deadline; its next delay is that of the
    /// new schedule.
    ///
    /// # Errors
    ///
    /// As [`Retry::new`]; nothing has changed then.
    pub fn set_config(&self, config: Config) -> Result<(), ConfigError> {
        config.check()?;
        let mut live = self.live();
        live.config = config;
        self.publish(&config);
        Ok(())
    }

    /// Gives the budget, if there is one.
    #[must_use]
    pub fn budget(&self) -> Option<&Arc<Budget>> {
        self.budget.as_ref()
    }

    /// Makes a call; it gets the number of the attempt, from 1. An error whose class is overload or transient is
    /// tried again, after the wait that it asks for if it does. Any other is handed back at once, and so is a
    /// [refusal](Classified::is_refusal) of a limiter or a breaker within the call.
    ///
    /// # Errors
    ///
    /// [`CallError`], with the error of the last attempt untouched.
    ///
    /// # Cancel safety
    ///
    /// Dropped, nothing more is done, and a retry that was waiting gives its budget back.
    ///
    /// # Panics
    ///
    /// A system clock needs the time driver of a tokio runtime as soon as there is something to wait for.
    pub fn call<T, E, F>(&self, call: F) -> impl Future<Output = Result<T, CallError<E>>>
    where
        E: Classified,
        F: AsyncFnMut(u32) -> Result<T, E>,
    {
        self.call_within(Deadline::NEVER, Advice::of_result, call)
    }

    /// Makes a call, and lets `judge` say what to do after each attempt. A result that is judged worth a retry
    /// when there is none left is given back as it is, be it an answer or an error.
    ///
    /// # Errors
    ///
    /// As [`Retry::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Retry::call`].
    pub fn call_with<T, E, F, J>(&self, judge: J, call: F) -> impl Future<Output = Result<T, CallError<E>>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
        J: Fn(&Result<T, E>) -> Advice,
    {
        self.call_within(Deadline::NEVER, judge, call)
    }

    /// Makes a call that ends by the deadline, or earlier where the configuration says so. An attempt that is under
    /// way then is dropped, and no wait is begun that would reach it.
    ///
    /// # Errors
    ///
    /// As [`Retry::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`Retry::call`].
    pub async fn call_within<T, E, F, J>(
        &self,
        deadline: Deadline,
        judge: J,
        mut call: F,
    ) -> Result<T, CallError<E>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
        J: Fn(&Result<T, E>) -> Advice,
    {
        let (run, first) = match self.plain(deadline) {
            Some(begun) => {
                let result = call(1).await;
                match (judge(&result), result) {
                    (Advice::Stop, Ok(value)) => {
                        self.succeeded_at_once();
                        return Ok(value);
                    }
                    (advice, result) => (Run::attempted_once(self, begun), Some((result, advice))),
                }
            }
            None => (Run::begin(self, deadline), None),
        };
        // Boxed, so that a call that needs none of this is small: it would be moved with its future otherwise, and take
        // twice the time.
        Box::pin(self.go_on(run, first, judge, call)).await
    }

    /// Makes attempts until there is none left, after the first if that was made already.
    async fn go_on<T, E, F, J>(
        &self,
        mut run: Run<&Self>,
        first: Option<(Result<T, E>, Advice)>,
        judge: J,
        mut call: F,
    ) -> Result<T, CallError<E>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
        J: Fn(&Result<T, E>) -> Advice,
    {
        let mut made = first.map(|(result, advice)| (Some(result), advice));
        loop {
            let (result, advice) = match made.take() {
                Some(made) => made,
                None => {
                    let result = self.attempt(&mut run, &mut call).await;
                    let advice = result.as_ref().map_or(Advice::AGAIN, &judge);
                    (result, advice)
                }
            };
            match run.end(result, advice) {
                Step::Done(result) => return result,
                Step::Wait(delay) => self.clock.sleep(delay).await,
            }
        }
    }

    /// Makes an attempt, if there is time for one.
    async fn attempt<T, E, F>(&self, run: &mut Run<&Self>, call: &mut F) -> Option<Result<T, E>>
    where
        F: AsyncFnMut(u32) -> Result<T, E>,
    {
        match run.time() {
            None => Some(call(run.attempt()).await),
            Some(Duration::ZERO) => None,
            Some(time) => within(&self.clock, time, call(run.attempt())).await,
        }
    }

    /// Makes a call without a runtime: `sleep` waits. The time of one attempt is not bounded here, since nothing can
    /// drop a call that blocks; the deadline bounds when one may begin.
    ///
    /// # Errors
    ///
    /// As [`Retry::call`].
    #[inline]
    pub fn call_blocking<T, E, J>(
        &self,
        judge: J,
        sleep: impl FnMut(Duration),
        mut call: impl FnMut(u32) -> Result<T, E>,
    ) -> Result<T, CallError<E>>
    where
        J: Fn(&Result<T, E>) -> Advice,
    {
        if !self.plain.load(Ordering::Relaxed) {
            return self.go_on_blocking(Run::begin(self, Deadline::NEVER), None, judge, sleep, call);
        }
        let begun = self.clock.coarse();
        let result = call(1);
        match (judge(&result), result) {
            (Advice::Stop, Ok(value)) => {
                self.succeeded_at_once();
                Ok(value)
            }
            (advice, result) => {
                let run = Run::attempted_once(self, begun);
                self.go_on_blocking(run, Some((result, advice)), judge, sleep, call)
            }
        }
    }

    /// As [`Retry::go_on`]. Apart, so that a call that succeeds at once stays small.
    #[cold]
    fn go_on_blocking<T, E>(
        &self,
        mut run: Run<&Self>,
        first: Option<(Result<T, E>, Advice)>,
        judge: impl Fn(&Result<T, E>) -> Advice,
        mut sleep: impl FnMut(Duration),
        mut call: impl FnMut(u32) -> Result<T, E>,
    ) -> Result<T, CallError<E>> {
        let mut made = first.map(|(result, advice)| (Some(result), advice));
        loop {
            let (result, advice) = made.take().unwrap_or_else(|| {
                let result = match run.time() {
                    Some(Duration::ZERO) => None,
                    _ => Some(call(run.attempt())),
                };
                let advice = result.as_ref().map_or(Advice::AGAIN, &judge);
                (result, advice)
            });
            match run.end(result, advice) {
                Step::Done(result) => return result,
                Step::Wait(delay) => sleep(delay),
            }
        }
    }

    /// Gives the time at which a call begins that nothing bounds but the schedule.
    ///
    /// Reading the clock is the dearest part of a call that succeeds. Where only a long `elapsed_max` needs the time,
    /// that of the last timer tick does: the call seems to have begun up to 10 ms earlier, so what must not begin too
    /// late does not.
    fn plain(&self, deadline: Deadline) -> Option<Instant> {
        (deadline == Deadline::NEVER && self.plain.load(Ordering::Relaxed)).then(|| self.clock.coarse())
    }

    #[inline]
    fn succeeded_at_once(&self) {
        if self.budget.is_some() || self.metrics.is_some() {
            self.count_success();
        }
    }

    /// Out of line: who counts nothing should not pay for it.
    #[inline(never)]
    fn count_success(&self) {
        if let Some(budget) = &self.budget {
            budget.deposit(self.clock.coarse());
        }
        if let Some(metrics) = &self.metrics {
            metrics.attempted(1);
            metrics.succeeded();
        }
    }

    fn publish(&self, config: &Config) {
        self.time_max.store(config.time_max.map_or(NONE, nanos), Ordering::Relaxed);
        self.attempt_time_max.store(config.attempt_time_max.map_or(NONE, nanos), Ordering::Relaxed);
        let bounded = config.time_max.is_some() || config.attempt_time_max.is_some();
        self.plain.store(!bounded && config.schedule.elapsed_max() >= COARSE_FROM, Ordering::Relaxed);
    }

    /// Nothing under this lock panics, so a poisoned one still guards whole values.
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Retry {
    /// Three retries after waits of 2, 4 and 8 s, on the system's clock, without a budget.
    fn default() -> Self {
        // The default has no time that could be wrong.
        Self::checked(Config::default(), Clock::system())
    }
}

/// One call under way. Dropped while it waits, it gives back what it has withdrawn for the retry.
#[derive(Debug)]
pub(crate) struct Run<R: Deref<Target = Retry>> {
    retry: R,
    course: Course,
    /// Withdrawn for the attempt that comes next, or is under way.
    held: Option<Slot>,
    /// Whether that attempt has begun.
    begun: bool,
    /// Attempts that were made.
    made: u32,
}

/// What comes after an attempt.
#[derive(Debug)]
pub(crate) enum Step<T, E> {
    Done(Result<T, CallError<E>>),
    Wait(Duration),
}

impl<R: Deref<Target = Retry>> Run<R> {
    pub(crate) fn begin(retry: R, deadline: Deadline) -> Self {
        let course = match retry.plain(deadline) {
            Some(begun) => Course::begin(begun, Deadline::NEVER),
            None => {
                let now = retry.clock.now();
                let own = time(&retry.time_max).map_or(Deadline::NEVER, |time| Deadline::after(now, time));
                Course::begin(now, deadline.earlier(own))
            }
        };
        Self { retry, course, held: None, begun: false, made: 0 }
    }

    /// A call without a deadline whose first attempt has just been made.
    fn attempted_once(retry: R, begun: Instant) -> Self {
        let course = Course::begin(begun, Deadline::NEVER);
        Self { retry, course, held: None, begun: true, made: 0 }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.retry.clock
    }

    /// Gives the time that the next attempt may take: `None` for as long as it likes, zero when it must not begin.
    #[inline]
    pub(crate) fn time(&self) -> Option<Duration> {
        let own = time(&self.retry.attempt_time_max);
        if own.is_none() && self.course.deadline() == Deadline::NEVER {
            return None;
        }
        self.course.time_for_attempt(own, self.retry.clock.now())
    }

    /// Begins the next attempt and gives its number.
    pub(crate) fn attempt(&mut self) -> u32 {
        self.begun = true;
        self.course.attempt()
    }

    /// Ends an attempt with its result, or with none when it took too long or could not begin.
    #[inline]
    pub(crate) fn end<T, E>(&mut self, result: Option<Result<T, E>>, advice: Advice) -> Step<T, E> {
        if !matches!(advice, Advice::Refused { .. }) && self.begun {
            self.attempted();
        }
        match (advice, result) {
            (Advice::Stop, Some(Ok(value))) => {
                if let Some(metrics) = &self.retry.metrics {
                    metrics.succeeded();
                }
                Step::Done(Ok(value))
            }
            (Advice::Stop, result) => Step::Done(self.give_up(result, Ended::Final, None)),
            (Advice::Refused { retry_after }, result) => {
                Step::Done(self.give_up(result, Ended::Refused, retry_after))
            }
            (Advice::Again { retry_after }, result) => match self.fail(retry_after) {
                Ok(delay) => Step::Wait(delay),
                Err(limit) => Step::Done(self.give_up(result, Ended::Limit(limit), retry_after)),
            },
        }
    }

    /// Counts an attempt that was made. What was withdrawn for it is spent.
    fn attempted(&mut self) {
        self.held = None;
        self.made += 1;
        if let (1, Some(budget)) = (self.made, &self.retry.budget) {
            budget.deposit(self.retry.clock.coarse());
        }
        if let Some(metrics) = &self.retry.metrics {
            metrics.attempted(self.made);
        }
    }

    /// Decides what comes after an attempt that failed: a wait, for which the budget is held, or a limit.
    #[cold]
    fn fail(&mut self, retry_after: Option<Duration>) -> Result<Duration, Limit> {
        let now = self.retry.clock.now();
        if self.begun {
            self.retry.observer.tell(Event::Failed { attempt: self.course.attempt() });
        }
        let next = {
            let mut live = self.retry.live();
            let Live { config, random } = &mut *live;
            self.course.fail(&config.schedule, retry_after, now, random)
        };
        let delay = match next {
            Next::Wait(delay) => delay,
            Next::Stop(limit) => return Err(limit),
        };
        // What is held for an attempt that could not begin is there for the next.
        if let (None, Some(budget)) = (self.held, &self.retry.budget) {
            self.held = Some(budget.withdraw(now).ok_or(Limit::Budget)?);
        }
        self.begun = false;
        self.retry.observer.tell(Event::Retrying { attempt: self.course.attempt(), delay });
        Ok(delay)
    }

    /// Ends the call.
    #[cold]
    pub(crate) fn give_up<T, E>(
        &mut self,
        result: Option<Result<T, E>>,
        ended: Ended,
        retry_after: Option<Duration>,
    ) -> Result<T, CallError<E>> {
        // A retry that was refused, or could not begin, was not made.
        self.give_back();
        if let Some(metrics) = &self.retry.metrics {
            metrics.ended(ended);
        }
        self.retry.observer.tell(Event::GaveUp { attempts: self.made, ended });
        let error = match result {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => Some(error),
            None => None,
        };
        Err(CallError { error, attempts: self.made, ended, retry_after })
    }

    fn give_back(&mut self) {
        if let (Some(slot), Some(budget)) = (self.held.take(), &self.retry.budget) {
            budget.give_back(slot);
        }
    }
}

impl<R: Deref<Target = Retry>> Drop for Run<R> {
    fn drop(&mut self) {
        // Once the retry has begun, it counts, whether somebody waits for its end or not.
        if !self.begun {
            self.give_back();
        }
    }
}

/// Waits for a result, and drops the call when it takes too long.
pub(crate) async fn within<T>(clock: &Clock, time: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut over = pin!(clock.sleep(time));
    std::future::poll_fn(|cx| {
        // The call first: an answer that comes with the last moment counts.
        if let Poll::Ready(value) = call.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        over.as_mut().poll(cx).map(|()| None)
    })
    .await
}

fn time(limit: &AtomicU64) -> Option<Duration> {
    match limit.load(Ordering::Relaxed) {
        NONE => None,
        nanos => Some(Duration::from_nanos(nanos)),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
