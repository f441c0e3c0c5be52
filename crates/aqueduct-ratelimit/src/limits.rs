use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aqueduct_core::{Classified, Clock, ErrorClass, Instant};

use crate::algorithm::Limit;
use crate::config::Config;
use crate::error::{ConfigError, Denied};
use crate::turn;

/// Several limits that are used together, all or none: requests and tokens, a second and a day.
pub struct Limits<const N: usize> {
    clock: Clock,
    names: [&'static str; N],
    /// As many as names. Guards all of them, so that nobody sees some of a use; nothing under it waits.
    limits: Mutex<Vec<Limit>>,
    /// Whoever holds it is the next to be given something; tokio's mutex hands it on in the order of asking.
    turn: tokio::sync::Mutex<()>,
}

/// One of several limits did not give, so nothing was used of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {denied}")]
pub struct LimitsDenied {
    /// The limit that makes wait longest.
    pub name: &'static str,
    /// What it said.
    pub denied: Denied,
}

impl Classified for LimitsDenied {
    fn class(&self) -> ErrorClass {
        self.denied.class()
    }

    fn is_refusal(&self) -> bool {
        true
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        self.denied.retry_after
    }
}

impl<const N: usize> Limits<N> {
    /// Limits of which nothing has been used, each with a name for errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a quota does not go with its algorithm.
    pub fn new(limits: [(&'static str, Config); N], clock: Clock) -> Result<Self, ConfigError> {
        let names = limits.map(|(name, _)| name);
        let made = limits.iter().map(|(_, config)| Limit::new(config.quota, config.algorithm));
        let limits = Mutex::new(made.collect::<Result<_, _>>()?);
        Ok(Self { clock, names, limits, turn: tokio::sync::Mutex::default() })
    }

    /// Uses so many tokens of each, in their order, all or none. Zero uses nothing of a limit.
    ///
    /// # Errors
    ///
    /// [`LimitsDenied`] with the longest of their waits, or the first that never gives so many.
    pub fn check(&self, tokens: [u64; N]) -> Result<(), LimitsDenied> {
        self.check_at(self.clock.now(), tokens)
    }

    fn check_at(&self, now: Instant, tokens: [u64; N]) -> Result<(), LimitsDenied> {
        let mut limits = self.lock();
        let mut worst: Option<LimitsDenied> = None;
        for ((limit, name), tokens) in limits.iter_mut().zip(self.names).zip(tokens) {
            if let Err(denied) = limit.peek(now, tokens) {
                // No wait at all is the longest: it never gives.
                let wait = |denied: &Denied| denied.retry_after.unwrap_or(std::time::Duration::MAX);
                if worst.is_none_or(|worst| wait(&denied) > wait(&worst.denied)) {
                    worst = Some(LimitsDenied { name, denied });
                }
            }
        }
        if let Some(denied) = worst {
            return Err(denied);
        }
        for (limit, tokens) in limits.iter_mut().zip(tokens) {
            // What was there a moment ago, under the same lock, is there.
            let _ = limit.check(now, tokens);
        }
        Ok(())
    }

    /// Waits until all of them give. Those who wait are served in the order in which they asked.
    ///
    /// # Errors
    ///
    /// [`LimitsDenied`] when one of them never gives so many.
    ///
    /// # Cancel safety
    ///
    /// A dropped wait has used nothing, and the next in line moves up.
    pub async fn acquire(&self, tokens: [u64; N]) -> Result<(), LimitsDenied> {
        let _turn = self.turn.lock().await;
        turn::wait(&self.clock, |now| self.check_at(now, tokens)).await.map(drop)
    }

    /// Gives tokens back that were not used after all, as where an answer took fewer than were asked for.
    pub fn refund(&self, tokens: [u64; N]) {
        let now = self.clock.now();
        for (limit, tokens) in self.lock().iter_mut().zip(tokens) {
            limit.refund(now, tokens);
        }
    }

    /// Gives nothing for so long, of any.
    pub fn drain(&self, wait: std::time::Duration) {
        let now = self.clock.now();
        for limit in self.lock().iter_mut() {
            limit.drain(now, wait);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Limit>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const N: usize> fmt::Debug for Limits<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("names", &self.names).finish_non_exhaustive()
    }
}
