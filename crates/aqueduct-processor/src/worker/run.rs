//! The run of a worker: one task that reserves, keeps leases and settles, and never waits for the store while it does not
//! look at everything else.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use aqueduct_core::{Clock, Instant, Phase, ShutdownSignal};
use aqueduct_queue::{Delivered, Delivery, Queue, ReserveError, SettleError, Settlement, Token};
use aqueduct_retry::Ended;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::Worker;
use super::handler::Failure;
use super::link::Link;
use super::outcome::settlement;
use crate::error::{JobError, RunError};
use crate::limits::{Limit, Limits};
use crate::pool::Canceller;
use crate::report::{RunEnd, RunReport};
use crate::usage;

/// The most settlements in one call.
pub(super) const SETTLE_MAX: usize = 1000;

/// A message that the worker has.
pub(super) struct Held {
    pub(super) delivered: Delivered,
    /// Of its handler, once that runs.
    pub(super) runs: Option<(Canceller, Instant)>,
    /// Whether its last attempt may have ended with its process.
    pub(super) suspect: bool,
    /// Somebody else has it.
    pub(super) stale: bool,
}

/// What is to be settled.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) token: Token,
    pub(super) settlement: Settlement,
    /// The first lease of its bundle, which is settled in one write.
    pub(super) bundle: u64,
}

/// What has come to pass.
pub(super) enum Event {
    /// A bundle, by its leases.
    Ended(Vec<u64>, Result<Vec<Result<(), Failure>>, JobError<Failure>>),
    Settled(Vec<Answer>, Vec<Result<(), SettleError>>),
    Extended(u64, Result<(), SettleError>),
}

/// What woke the run.
enum Woken {
    Event(Event),
    Reserved(Result<Vec<Delivery>, ReserveError>),
    Phase(Phase),
    Look,
}

/// A call for messages.
type Reserving = BoxFuture<'static, Result<Vec<Delivery>, ReserveError>>;

pub(super) struct Run {
    pub(super) worker: Worker,
    pub(super) clock: Clock,
    pub(super) queue: Queue,
    pub(super) began: Instant,
    pub(super) cpu_began: Duration,
    pub(super) held: HashMap<u64, Held>,
    /// Those whose handler does not run yet, in the order in which they came.
    pub(super) waiting: VecDeque<u64>,
    /// How many handlers run.
    pub(super) running: usize,
    /// The suspect that runs, by itself.
    pub(super) alone: Option<u64>,
    /// Whether the last message was a suspect.
    pub(super) suspected: bool,
    pub(super) events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// A call for messages, and by when it must have answered.
    pub(super) reserving: Option<(Reserving, Instant)>,
    pub(super) reserve_from: Instant,
    /// When a message was last taken.
    pub(super) taken_at: Instant,
    pub(super) to_settle: Vec<Answer>,
    /// How many settlements a call under way has.
    pub(super) settling: usize,
    pub(super) settle_from: Instant,
    /// When each lease is to be extended.
    pub(super) leases: BTreeSet<(Instant, u64)>,
    pub(super) memory_at: Instant,
    pub(super) link: Link,
    /// Why it takes nothing new.
    pub(super) end: Option<RunEnd>,
    /// When handlers that still run are cancelled; set with `end`.
    pub(super) cancel_at: Instant,
    pub(super) cancelled: bool,
    /// When settling is given up; set once no handler runs.
    pub(super) settle_until: Option<Instant>,
    pub(super) report: RunReport,
}

impl Worker {
    /// Works until it is asked to drain or to stop, or reaches a limit.
    ///
    /// It reserves what there are free slots for, keeps the leases while handlers run, and settles in groups. While the
    /// store of the queue fails, it tries again, with growing delays, and
    /// [`WorkerHandle::health`](super::WorkerHandle::health) says so. When it is asked to drain, it takes nothing new and
    /// lets handlers finish for [`WorkerConfig::grace`](super::WorkerConfig::grace); what has not is cancelled and given
    /// back without an attempt. Asked to stop, it does that at once.
    ///
    /// # Errors
    ///
    /// [`RunError`] when the store was closed under it.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, handlers are cancelled, and messages come again when their leases run out.
    pub async fn run(self, shutdown: ShutdownSignal) -> Result<RunReport, RunError> {
        run(self, shutdown).await
    }
}

async fn run(worker: Worker, mut shutdown: ShutdownSignal) -> Result<RunReport, RunError> {
    let (clock, queue) = (worker.clock.clone(), worker.queue.clone());
    let now = clock.now();
    let shared = std::sync::Arc::clone(&worker.shared);
    let report = RunReport::new(worker.identity);
    let mut run = Run {
        worker,
        clock: clock.clone(),
        queue,
        began: now,
        cpu_began: usage::cpu_time(),
        held: HashMap::new(),
        waiting: VecDeque::new(),
        running: 0,
        alone: None,
        suspected: false,
        events: FuturesUnordered::new(),
        reserving: None,
        reserve_from: now,
        taken_at: now,
        to_settle: Vec::new(),
        settling: 0,
        settle_from: now,
        leases: BTreeSet::new(),
        memory_at: now,
        link: Link::new(),
        end: None,
        cancel_at: now,
        cancelled: false,
        settle_until: None,
        report,
    };
    let mut phase = Phase::Running;
    loop {
        let wake_at = run.begin();
        if run.is_over() {
            return run.finish().await;
        }
        let next_phase = if phase == Phase::Running { Phase::Draining } else { Phase::Stopping };
        let woken = {
            let Run { events, reserving, .. } = &mut run;
            let reserved = async {
                match reserving {
                    Some((call, _)) => call.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.reached(next_phase), if phase < Phase::Stopping => Woken::Phase(next_phase),
                Some(event) = events.next(), if !events.is_empty() => Woken::Event(event),
                reserved = reserved => Woken::Reserved(reserved),
                () = shared.resized.notified() => Woken::Look,
                () = sleep_until(&clock, wake_at) => Woken::Look,
            }
        };
        match woken {
            Woken::Look => {}
            Woken::Phase(next) => {
                phase = next;
                run.end_with(RunEnd::Asked);
                if phase == Phase::Stopping {
                    run.cancel_at = clock.now();
                }
            }
            Woken::Reserved(result) => {
                run.reserving = None;
                run.reserved(result);
            }
            Woken::Event(event) => {
                run.on(event);
                // What is ready with it is settled with it.
                while run.to_settle.len() < SETTLE_MAX
                    && let Some(Some(event)) = run.events.next().now_or_never()
                {
                    run.on(event);
                }
            }
        }
    }
}

async fn sleep_until(clock: &Clock, at: Option<Instant>) {
    match at {
        Some(at) => clock.sleep(at.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

impl Run {
    /// Begins everything that can begin, and tells when there is more without anything else happening.
    fn begin(&mut self) -> Option<Instant> {
        let now = self.clock.now();
        self.look_at_limits(now);
        if self.end.is_some() {
            // What a dropped call has taken goes back.
            self.reserving = None;
            for lease in std::mem::take(&mut self.waiting) {
                self.release(lease);
            }
            if now >= self.cancel_at && !self.cancelled {
                self.cancelled = true;
                for (canceller, _) in self.held.values().filter_map(|held| held.runs.as_ref()) {
                    canceller.cancel();
                }
            }
            if self.held.is_empty() {
                let grace = self.worker.config.grace;
                self.settle_until.get_or_insert(now.after(grace));
            }
        } else {
            self.begin_handlers(now);
            self.begin_reserve(now);
        }
        self.begin_settle(now);
        self.begin_extend(now);
        self.publish();

        let mut times = Vec::with_capacity(6);
        times.extend(self.leases.first().map(|(at, _)| *at));
        if !self.to_settle.is_empty() && self.settling == 0 {
            times.push(self.settle_from);
        }
        let limits = &self.worker.config.limits;
        if self.end.is_some() {
            times.extend((!self.cancelled).then_some(self.cancel_at));
            times.extend(self.settle_until);
        } else {
            match &self.reserving {
                Some((_, until)) => times.push(*until),
                None if now < self.reserve_from => times.push(self.reserve_from),
                None => {}
            }
            times.extend(limits.memory_bytes_max.map(|_| self.memory_at));
            times.extend(limits.time_max.map(|time| self.began.after(time)));
        }
        times.into_iter().min()
    }

    fn look_at_limits(&mut self, now: Instant) {
        if self.end.is_some() {
            return;
        }
        let limits = self.worker.config.limits;
        if let Some(time) = limits.time_max
            && now.since(self.began) >= time
        {
            self.end_with(RunEnd::Limit(Limit::Time(time)));
        }
        if limits.memory_bytes_max.is_some() && now >= self.memory_at {
            self.memory_at = now.after(Limits::MEMORY_EVERY);
            if let Some(limit) = limits.memory() {
                self.end_with(RunEnd::Limit(limit));
            }
        }
    }

    /// Takes nothing new from now on. The first reason counts.
    pub(super) fn end_with(&mut self, end: RunEnd) {
        if self.end.is_none() {
            self.end = Some(end);
            self.cancel_at = self.clock.now().after(self.worker.config.grace);
        }
    }

    /// The store was closed: nothing can be settled any more.
    pub(super) fn closed(&mut self) {
        self.end = Some(RunEnd::Closed);
        self.cancel_at = self.clock.now();
    }

    fn is_over(&self) -> bool {
        let Some(end) = self.end else { return false };
        if !self.held.is_empty() {
            return false;
        }
        let given_up = self.settle_until.is_some_and(|until| self.clock.now() >= until);
        end == RunEnd::Closed || given_up || (self.to_settle.is_empty() && self.settling == 0)
    }

    async fn finish(mut self) -> Result<RunReport, RunError> {
        self.report.unsettled += (self.to_settle.len() + self.settling) as u64;
        self.report.ended = self.end.unwrap_or(RunEnd::Asked);
        // No handler runs, so this takes no time; work that does not return was given up already.
        self.worker.hands.pool().drain(Duration::ZERO).await;
        self.publish();
        let report = self.report;
        if report.ended == RunEnd::Closed { Err(RunError::Closed(Box::new(report))) } else { Ok(report) }
    }

    /// Brings the figures up to date, and shows them to handles.
    fn publish(&mut self) {
        self.report.total = self.clock.now().since(self.began);
        self.report.cpu = usage::cpu_time().saturating_sub(self.cpu_began);
        if self.report.ended != RunEnd::Running {
            self.report.memory_high = usage::memory().map(|(_, high)| high);
            self.report.pool = self.worker.hands.pool().figures();
        }
        let full = self.is_full();
        let mut state = self.worker.shared.lock();
        state.report = self.report.clone();
        state.full_since = (full && self.end.is_none()).then_some(self.taken_at);
    }

    // ---- The store ----

    pub(super) fn worked(&mut self) {
        self.link.worked();
        let mut state = self.worker.shared.lock();
        (state.failing, state.last_error) = (None, None);
    }

    /// The store has failed. Tells when it may be asked again.
    pub(super) fn failed(&mut self, error: String) -> Instant {
        let now = self.clock.now();
        let again = now.after(self.link.failed());
        (self.reserve_from, self.settle_from) = (again, again);
        let mut state = self.worker.shared.lock();
        state.failing.get_or_insert(now);
        state.last_error = Some(error);
        again
    }

    // ---- Events ----

    fn on(&mut self, event: Event) {
        match event {
            Event::Extended(lease, result) => self.extended(lease, result),
            Event::Settled(settlements, results) => self.settled(settlements, results),
            Event::Ended(leases, result) => self.ended(&leases, result),
        }
    }

    /// The handler of a bundle has ended.
    fn ended(&mut self, leases: &[u64], result: Result<Vec<Result<(), Failure>>, JobError<Failure>>) {
        self.running -= 1;
        let failed = |error| JobError::Failed { error, attempts: 1, ended: Ended::Final };
        let each: Vec<Result<(), JobError<Failure>>> = match result {
            Ok(answers) if answers.len() == leases.len() => {
                answers.into_iter().map(|answer| answer.map_err(failed)).collect()
            }
            Ok(answers) => vec![Err(failed(Failure::of_count(answers.len(), leases.len()))); leases.len()],
            Err(error) => vec![Err(error); leases.len()],
        };
        let bundle = leases.first().copied().unwrap_or_default();
        for (lease, result) in leases.iter().zip(each) {
            let Some(held) = self.held.remove(lease) else { continue };
            self.alone = self.alone.filter(|alone| alone != lease);
            if held.stale {
                self.report.stale += 1;
            } else {
                let config = &self.worker.config;
                let settlement = settlement(config, self.link.random(), &held.delivered, result);
                self.to_settle.push(Answer { token: held.delivered.token, settlement, bundle });
            }
        }
    }

    /// Gives back a message whose handler has not begun.
    pub(super) fn release(&mut self, lease: u64) {
        if let Some(held) = self.held.remove(&lease) {
            let token = held.delivered.token;
            self.to_settle.push(Answer { token, settlement: Settlement::Release, bundle: lease });
        }
    }
}
