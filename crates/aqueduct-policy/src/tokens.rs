//! The tokens of one attempt: those of the key and those of all, both or none.

use std::time::Duration;

use aqueduct_core::{Clock, Instant};
use aqueduct_retry::Deadline;

use crate::error::{Refusal, RefusedBy};
use crate::lane::Lane;
use crate::line::Line;

/// The quotas that an attempt is held to.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) lane: &'a Lane,
    pub(crate) shared: Option<&'a Line>,
    pub(crate) cost: u64,
    pub(crate) deadline: Deadline,
}

/// What is missing.
enum Short {
    /// The key rests, or has no token; it says itself for how long.
    Own,
    /// There is no token of all for so long.
    Shared(Duration),
    /// There are never so many.
    Never,
}

impl Tokens<'_> {
    /// Takes the tokens, and gives how long that took.
    ///
    /// Those who wait stand in the line of their key first, and its first one in the line of all: a key without tokens
    /// holds up nobody else, and among those who could go, the first who came goes first.
    ///
    /// # Errors
    ///
    /// [`Refusal`] when the wait would reach the deadline: at once where the line tells, else as soon as it does.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has used nothing, and the next in line moves up.
    pub(crate) async fn take(self) -> Result<Duration, Refusal> {
        let begun = self.clock.now();
        let free = [self.lane.line.as_ref(), self.shared].into_iter().flatten().all(Line::is_free);
        if free && self.try_take(begun).is_ok() {
            return Ok(Duration::ZERO);
        }
        self.estimate(begun)?;
        // Boxed, so that an attempt that need not wait is small.
        Box::pin(self.wait()).await?;
        Ok(self.clock.now().since(begun))
    }

    /// Gives what was taken back.
    pub(crate) fn refund(self) {
        for line in [self.lane.line.as_ref(), self.shared].into_iter().flatten() {
            line.refund(self.cost);
        }
    }

    /// Refuses a wait that would reach the deadline before it is begun.
    fn estimate(self, now: Instant) -> Result<(), Refusal> {
        let mut longest = self.lane.rest_left(now);
        for line in [self.lane.line.as_ref(), self.shared].into_iter().flatten() {
            let wait = line.wait_for(self.cost).ok_or(Refusal::new(RefusedBy::TooLarge, None))?;
            longest = longest.max(wait);
        }
        self.allow(now, longest)
    }

    async fn wait(self) -> Result<(), Refusal> {
        let _own = match &self.lane.line {
            Some(line) => Some(line.stand(self.cost).await),
            None => None,
        };
        // What was waited for is taken as of the moment at which it was due: a late timer delays its own attempt and no
        // other.
        let mut due = None;
        loop {
            while let Err(wait) = self.own_ready() {
                due = Some(self.sleep(wait).await?);
            }
            let _all = match self.shared {
                Some(line) => Some(line.stand(self.cost).await),
                None => None,
            };
            loop {
                if due.take().is_some_and(|due| self.try_take(due).is_ok()) {
                    return Ok(());
                }
                match self.try_take(self.clock.now()) {
                    Ok(()) => return Ok(()),
                    Err(Short::Never) => return Err(Refusal::new(RefusedBy::TooLarge, None)),
                    Err(Short::Shared(wait)) => due = Some(self.sleep(wait).await?),
                    // Somebody was told to leave the key alone meanwhile: it must not hold up the others.
                    Err(Short::Own) => break,
                }
            }
        }
    }

    /// Waits, unless that would reach the deadline, and gives the moment at which the wait was due.
    async fn sleep(self, wait: Duration) -> Result<Instant, Refusal> {
        let now = self.clock.now();
        self.allow(now, wait)?;
        self.clock.sleep(wait).await;
        Ok(now.after(wait))
    }

    fn allow(self, now: Instant, wait: Duration) -> Result<(), Refusal> {
        if self.deadline.allows(now, wait) {
            return Ok(());
        }
        Err(Refusal::new(RefusedBy::RateLimit, Some(wait)))
    }

    /// Whether the key could go now, or how long it could not.
    fn own_ready(self) -> Result<(), Duration> {
        let rest = self.lane.rest_left(self.clock.now());
        if !rest.is_zero() {
            return Err(rest);
        }
        match &self.lane.line {
            // A cost that never fits is not waited for; it is refused when it is taken.
            Some(line) => line.peek(self.cost).or_else(|denied| denied.retry_after.map_or(Ok(()), Err)),
            None => Ok(()),
        }
    }

    /// Takes all or none.
    fn try_take(self, at: Instant) -> Result<(), Short> {
        let rest = self.lane.rest_left(at);
        if !rest.is_zero() {
            return Err(Short::Own);
        }
        if let Some(line) = &self.lane.line {
            line.take(at, self.cost)
                .map_err(|denied| denied.retry_after.map_or(Short::Never, |_| Short::Own))?;
        }
        let Some(shared) = self.shared else { return Ok(()) };
        shared.take(at, self.cost).map_err(|denied| {
            if let Some(line) = &self.lane.line {
                line.refund(self.cost);
            }
            denied.retry_after.map_or(Short::Never, Short::Shared)
        })
    }
}
