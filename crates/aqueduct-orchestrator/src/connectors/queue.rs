//! The source and the sink `queue`: items that wait in a file of queues.

mod consumed;
pub(crate) mod sink;
pub(crate) mod source;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aqueduct_core::Clock;
use aqueduct_metrics::Registry;
use aqueduct_queue::{OpenError, Queue, Queues};

/// The files of queues of one pipeline. A file has one owner, so a source and a sink of the same one share it.
#[derive(Debug)]
pub(crate) struct Stores {
    clock: Clock,
    metrics: Registry,
    /// Held while a file is opened.
    open: Mutex<HashMap<PathBuf, Queues>>,
}

impl Stores {
    pub(crate) fn new(clock: Clock, metrics: Registry) -> Arc<Self> {
        Arc::new(Self { clock, metrics, open: Mutex::default() })
    }

    /// The queue, which counts what goes through it.
    fn counted(&self, queue: Queue) -> Queue {
        // A registry that refuses the names belongs to the program; the pipeline runs without them.
        queue.clone().with_metrics(&self.metrics).unwrap_or(queue)
    }

    /// Opens a file of queues, or gives the one that is open. May wait for a disk.
    fn at(&self, path: &Path) -> Result<Queues, OpenError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queues) = open.get(path) {
            return Ok(queues.clone());
        }
        let queues = Queues::open_with(path, self.clock.clone())?;
        open.insert(path.to_owned(), queues.clone());
        Ok(queues)
    }
}
