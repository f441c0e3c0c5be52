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
    /// The handler did not say what came of each message.
    pub(crate) fn of_count(answers: usize, messages: usize) -> Self {
        let reason = format!("the handler gave {answers} answers for {messages} messages");
        Self { class: ErrorClass::Transient, retry_after: None, reason }
    }

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

/// What came of each message of a bundle, in their order, or of all of them.
pub(crate) type Answers = Result<Vec<Result<(), Failure>>, Failure>;

type IoHandler = dyn Fn(Vec<Work>) -> BoxFuture<'static, Answers> + Send + Sync;
type CpuHandler = dyn Fn(&[Work]) -> Answers + Send + Sync;

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
        let handler = move |works: Vec<Work>| {
            // A bundle of one.
            let one = works.into_iter().next().map(&handler);
            async move {
                match one {
                    Some(one) => Ok(vec![one.await.map_err(|error| Failure::of(&error))]),
                    None => Ok(Vec::new()),
                }
            }
            .boxed()
        };
        Self::Io(pool, Arc::new(handler))
    }

    pub(crate) fn cpu<E, F>(pool: CpuPool, handler: F) -> Self
    where
        E: Classified + fmt::Display,
        F: Fn(&Work) -> Result<(), E> + Send + Sync + 'static,
    {
        let one = move |work: &Work| handler(work).map_err(|error| Failure::of(&error));
        Self::Cpu(pool, Arc::new(move |works: &[Work]| Ok(works.iter().map(&one).collect())))
    }

    pub(crate) fn io_bundles<E, F, R>(pool: IoPool, handler: F) -> Self
    where
        E: Classified + fmt::Display,
        F: Fn(Vec<Work>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Result<(), E>>, E>> + Send + 'static,
    {
        let handler = move |works| {
            let result = handler(works);
            async move { answers(result.await) }.boxed()
        };
        Self::Io(pool, Arc::new(handler))
    }

    pub(crate) fn cpu_bundles<E, F>(pool: CpuPool, handler: F) -> Self
    where
        E: Classified + fmt::Display,
        F: Fn(&[Work]) -> Result<Vec<Result<(), E>>, E> + Send + Sync + 'static,
    {
        Self::Cpu(pool, Arc::new(move |works: &[Work]| answers(handler(works))))
    }

    pub(crate) fn pool(&self) -> &Pool {
        match self {
            Self::Io(pool, _) => pool,
            Self::Cpu(pool, _) => pool,
        }
    }

    /// Sets the handler going on a bundle. There are as many jobs as slots, so it does not wait.
    pub(crate) fn begin(
        &self,
        job: Job,
        bundle: Vec<Delivered>,
    ) -> Result<Ticket<Vec<Result<(), Failure>>, Failure>, SubmitError> {
        let works = move |cancel: &Cancel| -> Vec<Work> {
            let work = |delivered: &Delivered| Work { delivered: delivered.clone(), cancel: cancel.clone() };
            bundle.iter().map(work).collect()
        };
        match self {
            Self::Io(pool, handler) => {
                let handler = Arc::clone(handler);
                pool.try_submit(job, move |context| handler(works(&context.cancel)))
            }
            Self::Cpu(pool, handler) => {
                let handler = Arc::clone(handler);
                pool.try_submit(job, move |context| handler(&works(&context.cancel)))
            }
        }
    }
}

fn answers<E: Classified + fmt::Display>(result: Result<Vec<Result<(), E>>, E>) -> Answers {
    let plain = |result: Result<(), E>| result.map_err(|error| Failure::of(&error));
    result.map(|each| each.into_iter().map(plain).collect()).map_err(|error| Failure::of(&error))
}
