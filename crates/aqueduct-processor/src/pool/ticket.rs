//! How the result of a job comes to whoever submitted it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use aqueduct_core::Classified;
use tokio::sync::oneshot;

use super::control::Control;
use super::entry::{Came, Reply};
use crate::end::End;
use crate::error::JobError;
use crate::line::Place;

/// A result on its way. The lock guards both halves, and is taken for moves only.
pub(crate) struct Answer<T, E>(Mutex<Parts<T, E>>);

struct Parts<T, E> {
    sender: Option<oneshot::Sender<Result<T, JobError<E>>>>,
    /// What the last attempt gave.
    last: Option<Result<T, E>>,
}

impl<T, E: Classified> Answer<T, E> {
    fn new() -> (Self, Receiver<T, E>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Mutex::new(Parts { sender: Some(sender), last: None })), receiver)
    }

    /// Keeps what an attempt gave until it is known whether there is another one.
    pub(crate) fn keep(&self, result: Result<T, E>) -> Came {
        let came = match &result {
            Ok(_) => Came::Done,
            Err(error) => Came::Failed { class: error.class(), retry_after: error.retry_after() },
        };
        let _earlier = self.0.lock().unwrap_or_else(PoisonError::into_inner).last.replace(result);
        came
    }
}

impl<T: Send, E: Send> Reply for Answer<T, E> {
    fn end(&self, end: End, attempts: u32) {
        let (sender, last) = {
            let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            (parts.sender.take(), parts.last.take())
        };
        let Some(sender) = sender else { return };
        let result = match (end, last) {
            (End::Done, Some(Ok(value))) => Ok(value),
            (End::Failed(ended), Some(Err(error))) => Err(JobError::Failed { error, attempts, ended }),
            (End::Panicked(message), _) => Err(JobError::Panicked { message, attempts }),
            (End::Late { abandoned }, _) => Err(JobError::Late { attempts, abandoned }),
            (End::Cancelled { abandoned }, _) => Err(JobError::Cancelled { attempts, abandoned }),
            // What came is kept before it is told, so there is no such pair.
            (End::Done | End::Failed(_), _) => Err(JobError::Cancelled { attempts, abandoned: false }),
        };
        // Nobody may be left to hear it.
        let _ = sender.send(result);
    }
}

/// How a result comes.
pub(super) type Receiver<T, E> = oneshot::Receiver<Result<T, JobError<E>>>;

/// The result of a job, to be awaited. One that is dropped leaves the job alone.
#[must_use = "the result of the job comes here"]
pub struct Ticket<T, E> {
    pub(super) receiver: Receiver<T, E>,
    pub(super) pool: Weak<dyn Control>,
    pub(super) place: Place,
}

/// The right to cancel a job.
#[derive(Clone)]
pub(crate) struct Canceller {
    pool: Weak<dyn Control>,
    place: Place,
}

impl Canceller {
    pub(crate) fn cancel(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.cancel(self.place);
        }
    }
}

impl<T, E> Ticket<T, E> {
    /// Cancels the job, if it has not ended. A future is dropped, and work on a thread is asked to end; the ticket says
    /// what came of it.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    pub(crate) fn canceller(&self) -> Canceller {
        Canceller { pool: Weak::clone(&self.pool), place: self.place }
    }
}

impl<T, E> Future for Ticket<T, E> {
    type Output = Result<T, JobError<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Without a sender the pool is gone, and the runtime with it.
        let gone = Err(JobError::Cancelled { attempts: 0, abandoned: false });
        Pin::new(&mut self.receiver).poll(cx).map(|result| result.unwrap_or(gone))
    }
}

impl<T, E> std::fmt::Debug for Ticket<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("job", &self.place.1).finish_non_exhaustive()
    }
}

/// An answer and its ticket.
pub(super) fn pair<T: Send + 'static, E: Classified + Send + 'static>() -> (Arc<Answer<T, E>>, Receiver<T, E>)
{
    let (answer, receiver) = Answer::new();
    (Arc::new(answer), receiver)
}
