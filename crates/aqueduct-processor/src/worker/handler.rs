//! What a handler is given, and how it is run.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_queue::{Delivered, Message, Token};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::cancel::Cancel;
use crate::error::SubmitError;
use crate::job::Job;
use crate::pool::{CpuPool, IoPool, Pool, Ticket};

/// A message for a handler.
#[derive(Clone, Debug)]
pub struct Work {
    /// The message and its attempt.
    pub delivered: Delivered,
    /// Whether the handler is to end: its time is over, the worker drains, or the message is somebody else's.
    pub cancel: Cancel,
}

impl Work {
    /// What was published.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.delivered.message
    }

    /// The fence: write its lease number with whatever the handler writes elsewhere, and refuse there what has a lower
    /// one. A lease is no lock; a handler that was paused may go on when the message has long been somebody else's.
    #[must_use]
    pub fn token(&self) -> Token {
        self.delivered.token
    }
}

/// Why a handler failed, without its type.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    class: ErrorClass,
    retry_after: Option<Duration>,
    pub(crate) reason: String,
}

impl Failure {
    fn of(error: &(impl Classified + fmt::Display)) -> Self {
        Self { class: error.class(), retry_after: error.retry_after(), reason: error.to_string() }
    }
}

impl Classified for Failure {
    fn class(&self) -> ErrorClass {
        self.class
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

type IoHandler = dyn Fn(Work) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;
type CpuHandler = dyn Fn(&Work) -> Result<(), Failure> + Send + Sync;

/// A pool and the handler that runs in it.
pub(crate) enum Hands {
    Io(IoPool, Arc<IoHandler>),
    Cpu(CpuPool, Arc<CpuHandler>),
}

impl Hands {
    pub(crate) fn io<E, F, R>(pool: IoPool, handler: F) -> Self
    where
        E: Classified + fmt::Display,
        F: Fn(Work) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
    {
        let handler =
            move |work| handler(work).map(|result| result.map_err(|error| Failure::of(&error))).boxed();
        Self::Io(pool, Arc::new(handler))
    }

    pub(crate) fn cpu<E, F>(pool: CpuPool, handler: F) -> Self
    where
        E: Classified + fmt::Display,
        F: Fn(&Work) -> Result<(), E> + Send + Sync + 'static,
    {
        let handler = move |work: &Work| handler(work).map_err(|error| Failure::of(&error));
        Self::Cpu(pool, Arc::new(handler))
    }

    pub(crate) fn pool(&self) -> &Pool {
        match self {
            Self::Io(pool, _) => pool,
            Self::Cpu(pool, _) => pool,
        }
    }

    /// Sets the handler going on a message. There are as many jobs as slots, so it does not wait.
    pub(crate) fn begin(&self, job: Job, delivered: Delivered) -> Result<Ticket<(), Failure>, SubmitError> {
        match self {
            Self::Io(pool, handler) => {
                let handler = Arc::clone(handler);
                pool.try_submit(job, move |context| {
                    handler(Work { delivered: delivered.clone(), cancel: context.cancel })
                })
            }
            Self::Cpu(pool, handler) => {
                let handler = Arc::clone(handler);
                pool.try_submit(job, move |context| {
                    handler(&Work { delivered: delivered.clone(), cancel: context.cancel.clone() })
                })
            }
        }
    }
}
