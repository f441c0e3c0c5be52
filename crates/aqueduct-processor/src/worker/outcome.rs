//! What becomes of a message after what came of its handler.

use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Random};
use aqueduct_queue::{Delivered, Message, Settlement};
use aqueduct_retry::{Attempt, Limit, Next};

use super::WorkerConfig;
use super::handler::Failure;
use crate::error::JobError;

/// The longest reason that goes with a message; more helps nobody who reads it.
const REASON_BYTES_MAX: usize = 4096;

pub(super) fn settlement(
    config: &WorkerConfig,
    random: &mut Random,
    delivered: &Delivered,
    result: Result<(), JobError<Failure>>,
) -> Settlement {
    match result {
        Ok(()) => Settlement::Ack,
        // By the worker: it drains. What it was not allowed to finish was no attempt.
        Err(JobError::Cancelled { .. }) => Settlement::Release,
        Err(JobError::Panicked { message, .. }) => {
            again(config, random, delivered, None, format!("the handler panicked: {message}"))
        }
        Err(JobError::Late { abandoned, .. }) => {
            let left = if abandoned { " and does not return" } else { "" };
            let time = config.message_time_max.unwrap_or_default();
            again(config, random, delivered, None, format!("the handler took longer than {time:?}{left}"))
        }
        Err(JobError::Failed { error, .. }) => match error.class() {
            // A handler that gives up by itself has used an attempt: otherwise it would get the message for ever.
            ErrorClass::Transient | ErrorClass::Overload | ErrorClass::Cancelled => {
                again(config, random, delivered, error.retry_after(), error.reason)
            }
            ErrorClass::Invalid | ErrorClass::Permanent | ErrorClass::Internal => {
                Settlement::DeadLetter { reason: cut(error.reason) }
            }
        },
    }
}

fn again(
    config: &WorkerConfig,
    random: &mut Random,
    delivered: &Delivered,
    retry_after: Option<Duration>,
    reason: String,
) -> Settlement {
    let failed = Attempt { number: delivered.attempt, retry_after, ..Attempt::default() };
    let delay = match (config.retry.next(&failed, random), retry_after) {
        (Next::Wait(delay), _) => delay,
        // A caller would not wait so long. A queue can.
        (Next::Stop(Limit::RetryAfter), Some(asked)) => asked,
        (Next::Stop(limit), _) => {
            return Settlement::DeadLetter { reason: cut(format!("gave up: {limit}: {reason}")) };
        }
    };
    Settlement::Nack { delay: delay.min(Message::DELAY_MAX), reason: cut(reason) }
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
