//! How callers learn that their writes are safe.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::{Handle, RuntimeFlavor};

/// Tells a caller what came of its write.
pub(crate) struct Tell {
    tell: Box<dyn FnOnce() + Send>,
    /// The runtime that the caller waits on, where that has threads of its own.
    runtime: Option<Handle>,
}

impl Tell {
    pub(crate) fn new(tell: impl FnOnce() + Send + 'static, runtime: Option<Handle>) -> Self {
        Self { tell: Box::new(tell), runtime }
    }

    pub(crate) fn now(self) {
        (self.tell)();
    }
}

/// The runtime of whoever calls this, if tasks of it run whatever its caller does.
pub(crate) fn runtime() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    (runtime.runtime_flavor() == RuntimeFlavor::MultiThread).then_some(runtime)
}

/// So many callers are worth a task.
const TASK_FROM: usize = 4;

/// Tells all callers of a sync. To wake a task from a thread that is not its runtime's takes some 4 us, so those of the first
/// one's runtime are told by a task there, and the log goes on meanwhile.
pub(crate) fn tell_all(mut tells: Vec<Tell>) {
    // A caller that panics must not take the others with it.
    let one = |tell: Tell| drop(catch_unwind(AssertUnwindSafe(|| tell.now())));
    if let Some(runtime) = tells.first().and_then(|tell| tell.runtime.clone()) {
        let is_there =
            |tell: &mut Tell| tell.runtime.as_ref().is_some_and(|other| other.id() == runtime.id());
        let there: Vec<Tell> = tells.extract_if(.., is_there).collect();
        if there.len() < TASK_FROM {
            there.into_iter().for_each(one);
        } else {
            // A runtime that ends drops the task, and those who wait on it with it.
            runtime.spawn(async move { there.into_iter().for_each(one) });
        }
    }
    tells.into_iter().for_each(one);
}
