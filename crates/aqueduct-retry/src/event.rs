use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Ended;

/// Something that happened to a call. Attempts are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An attempt failed in passing, or took too long.
    Failed {
        /// Its number.
        attempt: u32,
    },
    /// There will be another one.
    Retrying {
        /// The number of the next attempt.
        attempt: u32,
        /// The wait before it.
        delay: Duration,
    },
    /// A call ended without a good result.
    GaveUp {
        /// How many attempts were made.
        attempts: u32,
        /// Why there is no further one.
        ended: Ended,
    },
    /// A further attempt began beside one that takes long.
    Hedged {
        /// The number of the new attempt among those of this call.
        attempt: u32,
        /// How long the first has taken so far.
        after: Duration,
    },
    /// The further attempt answered first. Those that were still under way are dropped.
    HedgeWon {
        /// Its number.
        attempt: u32,
    },
}

/// Who is told.
#[derive(Clone, Default)]
pub(crate) struct Observer(Option<Arc<Function>>);

type Function = dyn Fn(&Event) + Send + Sync;

impl Observer {
    pub(crate) fn new(function: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(function)))
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(function) = &self.0 {
            function(&event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Some(..)" } else { "None" })
    }
}
