use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::WEIGHT_MAX;
use crate::error::ConfigError;

/// Something that a balancer may choose: a name, a weight, a priority, and a value of yours such as an address or a
/// client.
pub struct Endpoint<E> {
    name: Arc<str>,
    priority: u8,
    /// Relaxed: a pick that sees the old weight is one pick by the old weight.
    weight: AtomicU32,
    value: E,
}

/// The longest name, which is the longest value of a metric's label.
const NAME_BYTES_MAX: usize = 128;

impl<E> Endpoint<E> {
    /// An endpoint of weight 1 and priority 0. The name is what hash strategies place it by: for the places that nginx
    /// gives, `host:port`.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, value: E) -> Self {
        Self { name: name.into(), priority: 0, weight: AtomicU32::new(1), value }
    }

    /// Gives it a share of the calls: twice the weight, twice the calls. From 1 to 10,000.
    #[must_use]
    pub fn with_weight(self, weight: u32) -> Self {
        Self { weight: AtomicU32::new(weight), ..self }
    }

    /// Keeps it for when too few of the lower priorities are well. 0 comes first.
    #[must_use]
    pub fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// Its name, which no other endpoint of its balancer has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its weight now.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Its priority.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// What you gave.
    #[must_use]
    pub fn value(&self) -> &E {
        &self.value
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn set_weight(&self, weight: u32) -> Result<(), ConfigError> {
        check_weight(weight)?;
        self.weight.store(weight, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX {
            let allowed = format!("1 to {NAME_BYTES_MAX} bytes");
            return Err(ConfigError::new("name", format!("{:?}", self.name), allowed));
        }
        check_weight(self.weight())
    }
}

fn check_weight(weight: u32) -> Result<(), ConfigError> {
    ConfigError::check("weight", weight, 1, WEIGHT_MAX)
}

impl<E> fmt::Debug for Endpoint<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("weight", &self.weight())
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}
