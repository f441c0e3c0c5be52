use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Broken;
use crate::message::MessageId;

use super::{Body, Change, Log, ReadError, Write};

/// Keeps messages as long as the process lives.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    /// Held for as long as one map operation.
    bodies: Mutex<HashMap<MessageId, Body>>,
}

impl MemoryLog {
    fn bodies(&self) -> MutexGuard<'_, HashMap<MessageId, Body>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for MemoryLog {
    fn submit(&self, write: Write) {
        let mut bodies = self.bodies();
        for change in write.changes {
            match change {
                Change::Insert { head, body } => {
                    bodies.insert(head.id, body);
                }
                Change::Remove(id) => {
                    bodies.remove(&id);
                }
                // The index knows the rest.
                _ => {}
            }
        }
        drop(bodies);
        (write.done)(Ok(())).now();
    }

    fn at_hand(&self, id: MessageId) -> Option<Body> {
        self.bodies().get(&id).cloned()
    }

    fn read(&self, id: MessageId) -> Result<Body, ReadError> {
        self.at_hand(id).ok_or_else(|| ReadError::Corrupt("its body is gone".to_owned()))
    }

    fn begin(&self, _attempts: &[(MessageId, u32)]) -> Result<(), Broken> {
        Ok(())
    }

    fn close(&self) -> Result<(), Broken> {
        Ok(())
    }
}
