//! What a run takes: as many messages as there are slots, and when their handlers begin.

use std::time::Duration;

use aqueduct_core::Instant;
use aqueduct_queue::{Broken, Delivered, Delivery, ReserveError};
use futures_util::FutureExt;

use super::Suspects;
use super::run::{Event, Held, Run, SETTLE_MAX};
use crate::job::Job;
use crate::limits::Limit;
use crate::report::RunEnd;

/// How long one call to the queue waits for a message. The next call asks for the slots that are free then.
const POLL: Duration = Duration::from_secs(10);
/// How much longer a call may take before the store counts as not answering.
const ANSWER: Duration = Duration::from_secs(10);

impl Run {
    pub(super) fn begin_reserve(&mut self, now: Instant) {
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

    /// How many messages more can be with handlers: a bundle in each slot.
    pub(super) fn free(&self) -> usize {
        let slots = self.worker.hands.pool().health().workers.saturating_sub(self.running);
        slots.saturating_mul(self.worker.bundle_max).saturating_sub(self.waiting.len())
    }

    /// Whether it can take no further message: there is no slot, a suspect runs alone, or the store does not settle what
    /// is done.
    pub(super) fn is_full(&self) -> bool {
        let alone = self.alone.is_some() || !self.waiting.is_empty();
        alone || self.free() == 0 || self.to_settle.len() >= SETTLE_MAX
    }

    pub(super) fn reserved(&mut self, result: Result<Vec<Delivery>, ReserveError>) {
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
    pub(super) fn take(&mut self, delivered: Delivered) {
        self.report.taken += 1;
        let suspect = self.worker.config.suspects == Suspects::Alone && delivered.after_crash;
        let (now, lease) = (self.clock.now(), delivered.token.lease);
        self.taken_at = now;
        self.leases.insert((now.after(delivered.lease / 3), lease));
        self.held.insert(lease, Held { delivered, runs: None, suspect, stale: false });
        self.suspected = suspect;
        self.waiting.push_back(lease);
    }

    /// Sets the handlers going of messages that may begin.
    pub(super) fn begin_handlers(&mut self, now: Instant) {
        let slots = self.worker.hands.pool().health().workers;
        while self.alone.is_none()
            && self.running < slots
            && let Some(&first) = self.waiting.front()
        {
            if self.held.get(&first).is_some_and(|held| held.suspect) {
                // If it kills the process, what was reserved with it has used an attempt.
                self.release_all_but_first();
                if self.running > 0 || !self.to_settle.is_empty() || self.settling > 0 {
                    return;
                }
                self.alone = Some(first);
            }
            let (leases, bundle, job) = self.bundle();
            if leases.is_empty() {
                // There is no retry for the first one.
                self.alone = None;
                return;
            }
            match self.worker.hands.begin(job, bundle) {
                Ok(ticket) => {
                    self.running += 1;
                    for lease in &leases {
                        if let Some(held) = self.held.get_mut(lease) {
                            held.runs = Some((ticket.canceller(), now));
                        }
                    }
                    self.events.push(ticket.map(move |result| Event::Ended(leases, result)).boxed());
                }
                // There is room for all slots, so the pool has stopped, which it does with its runtime.
                Err(_) => {
                    self.alone = None;
                    for lease in leases {
                        self.release(lease);
                    }
                    return self.end_with(RunEnd::Asked);
                }
            }
        }
    }

    /// Takes what one handler gets out of those that wait: a suspect alone, or what stands before the next one.
    fn bundle(&mut self) -> (Vec<u64>, Vec<Delivered>, Job) {
        let bytes_max = self.worker.config.pool.bytes_max;
        let (mut leases, mut bundle) = (Vec::new(), Vec::new());
        let mut job = Job { within: self.worker.config.message_time_max, ..Job::default() };
        while bundle.len() < self.worker.bundle_max
            && let Some(&lease) = self.waiting.front()
            // Who waits is held.
            && let Some(held) = self.held.get(&lease)
            && (!held.suspect || bundle.is_empty())
        {
            if held.delivered.attempt > 1 {
                if let Some(retries_max) = self.worker.config.limits.retries_max
                    && self.report.retries >= retries_max
                {
                    if bundle.is_empty() {
                        self.waiting.pop_front();
                        self.release(lease);
                        self.end_with(RunEnd::Limit(Limit::Retries(retries_max)));
                    }
                    break;
                }
                self.report.retries += 1;
            }
            let (message, suspect) = (&held.delivered.message, held.suspect);
            job.priority =
                if bundle.is_empty() { message.priority } else { job.priority.max(message.priority) };
            // What is larger than all together may be runs alone.
            job.bytes = job.bytes.saturating_add(message.bytes() as u64).min(bytes_max);
            bundle.push(held.delivered.clone());
            leases.push(lease);
            self.waiting.pop_front();
            if suspect {
                break;
            }
        }
        (leases, bundle, job)
    }

    /// Gives back all that have not begun, but for the next one.
    pub(super) fn release_all_but_first(&mut self) {
        for lease in self.waiting.split_off(1) {
            self.release(lease);
        }
    }
}
