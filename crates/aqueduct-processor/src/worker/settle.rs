//! How a run settles what its handlers have ended with, in groups.

use aqueduct_core::Instant;
use aqueduct_queue::{Broken, SettleError, Settlement, Token};
use futures_util::FutureExt;

use super::run::{Event, Run, SETTLE_MAX};

impl Run {
    pub(super) fn begin_settle(&mut self, now: Instant) {
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

    pub(super) fn settled(
        &mut self,
        settlements: Vec<(Token, Settlement)>,
        results: Vec<Result<(), SettleError>>,
    ) {
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
