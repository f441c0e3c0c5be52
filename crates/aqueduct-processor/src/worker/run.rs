//! The run of a worker: one task that reserves, keeps leases and settles, and never waits for the store while it does not
//! look at everything else.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Instant, Phase, ShutdownSignal};
use aqueduct_queue::{
    Broken, Delivered, Delivery, Message, MessageId, Queue, ReserveError, SettleError, Settlement, Token,
};
use aqueduct_retry::{Attempt, Limit as RetryLimit, Next};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::handler::Failure;
use super::link::Link;
use super::{RunEnd, RunReport, Suspects, Worker};
use crate::error::{JobError, RunError};
use crate::job::Job;
use crate::limits::{Limit, Limits};
use crate::pool::Canceller;
use crate::usage;

/// How long one call to the queue waits for a message. The next call asks for the slots that are free then.
const POLL: Duration = Duration::from_secs(10);
/// How much longer a call may take before the store counts as not answering.
const ANSWER: Duration = Duration::from_secs(10);
/// The most settlements in one call.
const SETTLE_MAX: usize = 1000;
/// The longest reason that goes with a message; more helps nobody who reads it.
const REASON_BYTES_MAX: usize = 4096;

/// How many failures a run remembers. When they are more it forgets all, which makes suspects of those messages.
const FAILED_MAX: usize = 100_000;

/// A message that the worker has.
struct Held {
    delivered: Delivered,
    /// Of its handler, once that runs.
    runs: Option<(Canceller, Instant)>,
    /// Whether its last attempt may have ended with its process.
    suspect: bool,
    /// Somebody else has it.
    stale: bool,
}

/// What has come to pass.
enum Event {
    Ended(u64, Result<(), JobError<Failure>>),
    Settled(Vec<(Token, Settlement)>, Vec<Result<(), SettleError>>),
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

struct Run {
    worker: Worker,
    clock: Clock,
    queue: Queue,
    began: Instant,
    cpu_began: Duration,
    held: HashMap<u64, Held>,
    /// Those whose handler does not run yet, in the order in which they came.
    waiting: VecDeque<u64>,
    /// The suspect that runs, by itself.
    alone: Option<u64>,
    /// Whether the last message was a suspect.
    suspected: bool,
    /// The attempts that this run has seen fail.
    failed: HashMap<MessageId, u32>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    /// A call for messages, and by when it must have answered.
    reserving: Option<(Reserving, Instant)>,
    reserve_from: Instant,
    /// When a message was last taken.
    taken_at: Instant,
    to_settle: Vec<(Token, Settlement)>,
    /// How many settlements a call under way has.
    settling: usize,
    settle_from: Instant,
    /// When each lease is to be extended.
    leases: BTreeSet<(Instant, u64)>,
    memory_at: Instant,
    link: Link,
    /// Why it takes nothing new.
    end: Option<RunEnd>,
    /// When handlers that still run are cancelled; set with `end`.
    cancel_at: Instant,
    cancelled: bool,
    /// When settling is given up; set once no handler runs.
    settle_until: Option<Instant>,
    report: RunReport,
}

pub(super) async fn run(worker: Worker, mut shutdown: ShutdownSignal) -> Result<RunReport, RunError> {
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
        alone: None,
        suspected: false,
        failed: HashMap::new(),
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
                if let Some(held) = self.held.remove(&lease) {
                    self.to_settle.push((held.delivered.token, Settlement::Release));
                }
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
    fn end_with(&mut self, end: RunEnd) {
        if self.end.is_none() {
            self.end = Some(end);
            self.cancel_at = self.clock.now().after(self.worker.config.grace);
        }
    }

    /// The store was closed: nothing can be settled any more.
    fn closed(&mut self) {
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

    // ---- Reserving ----

    fn begin_reserve(&mut self, now: Instant) {
        if self.reserving.as_ref().is_some_and(|(_, until)| now >= *until) {
            self.reserving = None;
            self.failed("the store of the queue does not answer".to_owned());
        }
        let pool = self.worker.hands.pool();
        if self.end.is_some() || self.reserving.is_some() || now < self.reserve_from || self.is_full() {
            return;
        }
        // Suspects come one by one.
        let free = if self.suspected { 1 } else { self.free() };
        let bytes = self.worker.config.pool.bytes_max.saturating_sub(pool.figures().bytes);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
        let queue = self.queue.clone();
        let call = async move { queue.reserve_many(free, bytes, POLL).await };
        self.reserving = Some((call.boxed(), now.after(POLL + ANSWER)));
    }

    /// How many handlers more can run.
    fn free(&self) -> usize {
        self.worker.hands.pool().health().workers.saturating_sub(self.held.len())
    }

    /// Whether it can take no further message: there is no slot, a suspect runs alone, or the store does not settle what
    /// is done.
    fn is_full(&self) -> bool {
        let alone = self.alone.is_some() || !self.waiting.is_empty();
        alone || self.free() == 0 || self.to_settle.len() >= SETTLE_MAX
    }

    fn reserved(&mut self, result: Result<Vec<Delivery>, ReserveError>) {
        match result {
            Ok(deliveries) => {
                self.worked();
                for delivery in deliveries {
                    self.take((*delivery).clone());
                }
            }
            Err(ReserveError::Broken(Broken::Closed)) => self.closed(),
            Err(error) => {
                self.failed(error.to_string());
            }
        }
    }

    /// Has a message from now on.
    fn take(&mut self, delivered: Delivered) {
        self.report.taken += 1;
        let seen = self.failed.remove(&delivered.token.id);
        let suspect = self.worker.config.suspects == Suspects::Alone
            && delivered.attempt > 1
            && seen != Some(delivered.attempt - 1);
        let (now, lease) = (self.clock.now(), delivered.token.lease);
        self.taken_at = now;
        self.leases.insert((now.after(delivered.lease / 3), lease));
        self.held.insert(lease, Held { delivered, runs: None, suspect, stale: false });
        self.suspected = suspect;
        self.waiting.push_back(lease);
    }

    /// Sets the handlers going of messages that may begin.
    fn begin_handlers(&mut self, now: Instant) {
        while self.alone.is_none()
            && let Some(&lease) = self.waiting.front()
        {
            let runs = self.held.len() > self.waiting.len();
            if self.held.get(&lease).is_some_and(|held| held.suspect) {
                // If it kills the process, what was reserved with it has used an attempt.
                self.release_all_but_first();
                if runs || !self.to_settle.is_empty() || self.settling > 0 {
                    return;
                }
                self.alone = Some(lease);
            }
            self.waiting.pop_front();
            // Who waits is held.
            let Some(held) = self.held.get_mut(&lease) else { return };
            if held.delivered.attempt > 1 {
                if let Some(retries_max) = self.worker.config.limits.retries_max
                    && self.report.retries >= retries_max
                {
                    let token = held.delivered.token;
                    self.held.remove(&lease);
                    self.alone = None;
                    self.to_settle.push((token, Settlement::Release));
                    return self.end_with(RunEnd::Limit(Limit::Retries(retries_max)));
                }
                self.report.retries += 1;
            }
            // One that is larger than all together may be runs alone.
            let bytes = (held.delivered.message.bytes() as u64).min(self.worker.config.pool.bytes_max);
            let job = Job {
                priority: held.delivered.message.priority,
                bytes,
                within: self.worker.config.message_time_max,
                key: None,
            };
            match self.worker.hands.begin(job, held.delivered.clone()) {
                Ok(ticket) => {
                    held.runs = Some((ticket.canceller(), now));
                    self.events.push(ticket.map(move |result| Event::Ended(lease, result)).boxed());
                }
                // There is room for all slots, so the pool has stopped, which it does with its runtime.
                Err(_) => {
                    let token = held.delivered.token;
                    self.held.remove(&lease);
                    self.alone = None;
                    self.to_settle.push((token, Settlement::Release));
                    return self.end_with(RunEnd::Asked);
                }
            }
        }
    }

    /// Gives back all that have not begun, but for the next one.
    fn release_all_but_first(&mut self) {
        for lease in self.waiting.drain(1..) {
            if let Some(held) = self.held.remove(&lease) {
                self.to_settle.push((held.delivered.token, Settlement::Release));
            }
        }
    }

    // ---- The store ----

    fn worked(&mut self) {
        self.link.worked();
        let mut state = self.worker.shared.lock();
        (state.failing, state.last_error) = (None, None);
    }

    /// The store has failed. Tells when it may be asked again.
    fn failed(&mut self, error: String) -> Instant {
        let now = self.clock.now();
        let again = now.after(self.link.failed());
        (self.reserve_from, self.settle_from) = (again, again);
        let mut state = self.worker.shared.lock();
        state.failing.get_or_insert(now);
        state.last_error = Some(error);
        again
    }

    // ---- Leases ----

    fn begin_extend(&mut self, now: Instant) {
        while let Some(&(at, lease)) = self.leases.first()
            && at <= now
        {
            self.leases.pop_first();
            let Some(held) = self.held.get(&lease) else { continue };
            // Work that does not return must not keep its message from everybody else.
            let over = held
                .runs
                .as_ref()
                .zip(self.worker.config.message_time_max)
                .is_some_and(|((_, began), max)| now.since(*began) >= max);
            if held.stale || over {
                continue;
            }
            let (queue, token, length) = (self.queue.clone(), held.delivered.token, held.delivered.lease);
            let call = async move { Event::Extended(lease, queue.extend(token, length).await) };
            self.events.push(call.boxed());
        }
    }

    fn extended(&mut self, lease: u64, result: Result<(), SettleError>) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        let length = held.delivered.lease;
        match result {
            Ok(()) => {
                self.leases.insert((self.clock.now().after(length / 3), lease));
            }
            Err(SettleError::StaleLease { .. }) => {
                held.stale = true;
                match &held.runs {
                    Some((canceller, _)) => canceller.cancel(),
                    None => {
                        self.held.remove(&lease);
                        self.waiting.retain(|waiting| *waiting != lease);
                        self.report.stale += 1;
                    }
                }
            }
            Err(SettleError::Broken(Broken::Closed)) => self.closed(),
            // As often as the store may be asked, and until it says that the lease is stale.
            Err(error) => {
                let again = self.failed(error.to_string());
                self.leases.insert((again, lease));
            }
        }
    }

    // ---- Settling ----

    fn on(&mut self, event: Event) {
        match event {
            Event::Extended(lease, result) => self.extended(lease, result),
            Event::Settled(settlements, results) => self.settled(settlements, results),
            Event::Ended(lease, result) => {
                let Some(held) = self.held.remove(&lease) else { return };
                self.alone = self.alone.filter(|alone| *alone != lease);
                if held.stale {
                    self.report.stale += 1;
                } else {
                    let settlement = self.settlement(&held.delivered, result);
                    self.to_settle.push((held.delivered.token, settlement));
                }
            }
        }
    }

    /// What becomes of a message after what came of its handler.
    fn settlement(&mut self, delivered: &Delivered, result: Result<(), JobError<Failure>>) -> Settlement {
        match result {
            Ok(()) => Settlement::Ack,
            // By the worker: it drains. What it was not allowed to finish was no attempt.
            Err(JobError::Cancelled { .. }) => Settlement::Release,
            Err(JobError::Panicked { message, .. }) => {
                self.again(delivered, None, format!("the handler panicked: {message}"))
            }
            Err(JobError::Late { abandoned, .. }) => {
                let left = if abandoned { " and does not return" } else { "" };
                let time = self.worker.config.message_time_max.unwrap_or_default();
                self.again(delivered, None, format!("the handler took longer than {time:?}{left}"))
            }
            Err(JobError::Failed { error, .. }) => match error.class() {
                // A handler that gives up by itself has used an attempt: otherwise it would get the message for ever.
                ErrorClass::Transient | ErrorClass::Overload | ErrorClass::Cancelled => {
                    self.again(delivered, error.retry_after(), error.reason)
                }
                ErrorClass::Invalid | ErrorClass::Permanent | ErrorClass::Internal => {
                    Settlement::DeadLetter { reason: cut(error.reason) }
                }
            },
        }
    }

    fn again(&mut self, delivered: &Delivered, retry_after: Option<Duration>, reason: String) -> Settlement {
        let failed = Attempt { number: delivered.attempt, retry_after, ..Attempt::default() };
        let delay = match (self.worker.config.retry.next(&failed, self.link.random()), retry_after) {
            (Next::Wait(delay), _) => delay,
            // A caller would not wait so long. A queue can.
            (Next::Stop(RetryLimit::RetryAfter), Some(asked)) => asked,
            (Next::Stop(limit), _) => {
                return Settlement::DeadLetter { reason: cut(format!("gave up: {limit}: {reason}")) };
            }
        };
        if self.failed.len() >= FAILED_MAX {
            self.failed.clear();
        }
        self.failed.insert(delivered.token.id, delivered.attempt);
        Settlement::Nack { delay: delay.min(Message::DELAY_MAX), reason: cut(reason) }
    }

    fn begin_settle(&mut self, now: Instant) {
        if self.to_settle.is_empty() || self.settling > 0 || now < self.settle_from {
            return;
        }
        let count = self.to_settle.len().min(SETTLE_MAX);
        let settlements: Vec<_> = self.to_settle.drain(..count).collect();
        self.settling = count;
        self.report.settle_calls += 1;
        let queue = self.queue.clone();
        let call = async move {
            let results = queue.settle(settlements.clone()).await;
            Event::Settled(settlements, results)
        };
        self.events.push(call.boxed());
    }

    fn settled(&mut self, settlements: Vec<(Token, Settlement)>, results: Vec<Result<(), SettleError>>) {
        self.settling = 0;
        let mut failed = None;
        for ((token, settlement), result) in settlements.into_iter().zip(results) {
            match result {
                Ok(()) => match settlement {
                    Settlement::Ack => self.report.acked += 1,
                    Settlement::Nack { .. } => self.report.nacked += 1,
                    Settlement::DeadLetter { .. } => self.report.dead_lettered += 1,
                    Settlement::Release => self.report.released += 1,
                },
                Err(SettleError::StaleLease { .. }) => self.report.stale += 1,
                Err(SettleError::Broken(Broken::Closed)) => {
                    self.report.unsettled += 1;
                    self.closed();
                }
                Err(error @ SettleError::Broken(_)) => {
                    failed = Some(error);
                    self.to_settle.push((token, settlement));
                }
                // Nothing that the worker writes is refused for itself; the message comes again with its lease.
                Err(SettleError::Publish(_) | SettleError::Invalid(_)) => self.report.unsettled += 1,
            }
        }
        match failed {
            Some(error) => {
                self.failed(error.to_string());
            }
            None => self.worked(),
        }
    }
}

/// Cuts a reason to what is kept, between two characters.
fn cut(reason: String) -> Box<str> {
    let mut reason = reason;
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason.into_boxed_str()
}
