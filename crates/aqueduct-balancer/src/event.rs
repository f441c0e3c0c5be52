use std::sync::Arc;
use std::time::Duration;

use crate::outlier::Cause;

/// Something has changed about an endpoint or a priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It may be chosen from now on, if it is well.
    Added {
        /// Its name.
        endpoint: Arc<str>,
    },
    /// It is not chosen any more; calls under way go on.
    Draining {
        /// Its name.
        endpoint: Arc<str>,
    },
    /// The balancer has forgotten it; calls under way go on.
    Removed {
        /// Its name.
        endpoint: Arc<str>,
    },
    /// Its calls took it out.
    Ejected {
        /// Its name.
        endpoint: Arc<str>,
        /// Why.
        cause: Cause,
        /// For how long.
        lasts: Duration,
    },
    /// Its ejection is over.
    Returned {
        /// Its name.
        endpoint: Arc<str>,
    },
    /// It asked to be left alone.
    Resting {
        /// Its name.
        endpoint: Arc<str>,
        /// For how long.
        lasts: Duration,
    },
    /// Active checks say that it is well again.
    Healthy {
        /// Its name.
        endpoint: Arc<str>,
    },
    /// Active checks say that it is not well.
    Unhealthy {
        /// Its name.
        endpoint: Arc<str>,
    },
    /// Too few endpoints of this priority are well, and all are used.
    Panic {
        /// The priority.
        priority: u8,
    },
    /// Only endpoints that are well are used again.
    Calm {
        /// The priority.
        priority: u8,
    },
}
