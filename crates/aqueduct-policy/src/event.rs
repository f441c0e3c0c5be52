use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aqueduct_breaker::{State, Transition};

/// Something that changed what a backend lets pass.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The circuit of a key has changed.
    Circuit {
        /// The key; empty for the calls without one.
        key: &'a str,
        /// From what to what, when and why.
        transition: &'a Transition,
    },
    /// An endpoint was ejected, came back, rests or the like.
    Endpoint(&'a aqueduct_balancer::Event),
    /// The backend has asked to be called less, and the quota of the key gives nothing for so long.
    Paused {
        /// The key; empty for the calls without one.
        key: &'a str,
        /// How long.
        wait: Duration,
    },
}

/// Who is told, and what is counted of it.
#[derive(Clone, Default)]
pub(crate) struct Observer {
    function: Option<Arc<Function>>,
    /// How often circuits of keys have opened. Relaxed: it is only added up.
    opened: Arc<AtomicU64>,
}

type Function = dyn Fn(&Event<'_>) + Send + Sync;

impl Observer {
    pub(crate) fn new(function: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self { function: Some(Arc::new(function)), opened: Arc::default() }
    }

    /// The same function with counts of its own, for another backend.
    pub(crate) fn fresh(&self) -> Self {
        Self { function: self.function.clone(), opened: Arc::default() }
    }

    pub(crate) fn circuit(&self, key: &str, transition: &Transition) {
        if transition.to == State::Open {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        self.tell(&Event::Circuit { key, transition });
    }

    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(function) = &self.function {
            function(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.function.is_some() { "Some(..)" } else { "None" })
    }
}
