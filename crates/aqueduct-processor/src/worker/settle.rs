//! How a run settles what its handlers have ended with, in groups.

use aqueduct_core::Instant;
use aqueduct_queue::{Broken, SettleError, Settlement};
use futures_util::FutureExt;

use super::run::{Answer, Event, Run, SETTLE_MAX};

impl Run {
    pub(super) fn begin_settle(&mut self, now: Instant) {
        if self.to_settle.is_empty() || self.settling > 0 || now < self.settle_from {
            return;
        }
        let mut count = self.to_settle.len().min(SETTLE_MAX);
        // To the end of a bundle.
        while let (Some(last), Some(next)) = (self.to_settle.get(count - 1), self.to_settle.get(count))
            && last.bundle == next.bundle
        {
            count += 1;
        }
        let answers: Vec<Answer> = self.to_settle.drain(..count).collect();
        self.settling = count;
        self.report.settle_calls += 1;
        let queue = self.queue.clone();
        let call = async move {
            let settlements = answers.iter().map(|answer| (answer.token, answer.settlement.clone()));
            let results = queue.settle(settlements.collect()).await;
            Event::Settled(answers, results)
        };
        self.events.push(call.boxed());
    }

    pub(super) fn settled(&mut self, answers: Vec<Answer>, results: Vec<Result<(), SettleError>>) {
        self.settling = 0;
        let mut failed = None;
        for (answer, result) in answers.into_iter().zip(results) {
            match result {
                Ok(()) => match answer.settlement {
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
                    self.to_settle.push(answer);
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
