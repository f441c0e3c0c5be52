use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aqueduct_core::{Classified, ErrorClass};
use async_trait::async_trait;

use crate::invalidations::{Invalidations, Scope};
use crate::stored::Stored;

/// What lies below memory: a disk, a server, several servers. Bytes under a namespace and a key.
///
/// An implementation says what went wrong, and as soon as it can; that nobody waits for it or sees an error of it is the
/// affair of the cache above.
#[async_trait]
pub trait Level: fmt::Debug + Send + Sync {
    /// What it is called in statistics and messages: `disk`, `redis`.
    fn name(&self) -> &'static str;

    /// Gives what is stored, unless it has expired.
    ///
    /// # Errors
    ///
    /// [`LevelError`]; what cannot be read any more is not an error but missing.
    async fn get(&self, place: Place<'_>) -> Result<Option<Stored>, LevelError>;

    /// The same for several keys of a namespace, in their order: in one round trip where that can be.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, LevelError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(Place { namespace, key }).await?);
        }
        Ok(found)
    }

    /// Stores something in the place of what was there. It may leave again at any time.
    ///
    /// # Errors
    ///
    /// [`LevelError`]; then the old value or the new one is there, or none.
    async fn set(&self, place: Place<'_>, stored: &Stored) -> Result<(), LevelError>;

    /// Removes what is stored. Once this returns, nobody finds it.
    ///
    /// # Errors
    ///
    /// [`LevelError`]; then it may still be there.
    async fn remove(&self, place: Place<'_>) -> Result<(), LevelError>;

    /// Gives what was invalidated in a namespace.
    ///
    /// # Errors
    ///
    /// [`LevelError`].
    async fn invalidations(&self, namespace: &str) -> Result<Invalidations, LevelError>;

    /// Writes down an invalidation, in an edition that is at least `edition` and greater than every one before; gives it. O(1):
    /// what is invalid is left to leave by itself.
    ///
    /// # Errors
    ///
    /// [`LevelError`]; then it may have been written down.
    async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Result<u64, LevelError>;

    /// Tells whether somebody is there, at the least cost.
    ///
    /// # Errors
    ///
    /// [`LevelError`].
    async fn ping(&self) -> Result<(), LevelError>;

    /// Tells `listener` from now on what others change. A level that nobody else writes to tells nothing.
    fn listen(&self, listener: Arc<dyn Listener>) {
        drop(listener);
    }

    /// Writes what is not written yet, and ends what is under way.
    async fn close(&self) {}
}

/// Where something is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The key in it: any bytes.
    pub key: &'a [u8],
}

/// Whoever wants to know what others change in a shared level.
///
/// It is called on the task that reads from the server, and neither waits nor takes long.
pub trait Listener: Send + Sync {
    /// Somebody else has stored or removed something under a key.
    fn changed(&self, place: Place<'_>);

    /// Somebody else has invalidated something in a namespace: ask for [`Level::invalidations`].
    fn invalidated(&self, namespace: &str);

    /// It is not known what others have changed until now: the connection was lost, or has just been made.
    fn lost(&self);
}

/// What went wrong in a level.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// It did not answer, or not in time.
    #[error("reach the {level} level of the cache")]
    Away {
        /// Which.
        level: &'static str,
        /// Why, where that is known.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered that it does not do this: it is full, read only, or there is something else under the key.
    #[error("use the {level} level of the cache")]
    Refused {
        /// Which.
        level: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Classified for LevelError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Away { .. } => ErrorClass::Transient,
            Self::Refused { .. } => ErrorClass::Permanent,
        }
    }
}
