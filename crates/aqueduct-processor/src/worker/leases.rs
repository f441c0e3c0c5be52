//! How a run keeps its leases while handlers run, and learns that one is lost.

use aqueduct_core::Instant;
use aqueduct_queue::{Broken, SettleError};
use futures_util::FutureExt;

use super::run::{Event, Run};

impl Run {
    pub(super) fn begin_extend(&mut self, now: Instant) {
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

    pub(super) fn extended(&mut self, lease: u64, result: Result<(), SettleError>) {
        let Some(held) = self.held.get_mut(&lease) else { return };
        let length = held.delivered.lease;
        match result {
            Ok(()) => {
                self.leases.insert((self.clock.now().after(length / 3), lease));
            }
            Err(SettleError::StaleLease { .. }) => {
                held.stale = true;
                match &held.runs {
                    // Not the others of its bundle.
                    Some((canceller, _)) if self.worker.bundle_max == 1 => canceller.cancel(),
                    Some(_) => {}
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
}
