//! How jobs end: by themselves, for want of time, or because nobody wants them.

use std::time::Duration;

use aqueduct_core::{ErrorClass, Instant};
use aqueduct_retry::{Attempt, Ended, Limit, Next};

use super::entry::{Came, Entry, Told};
use super::shared::{Crew, Shared};
use super::state::State;
use crate::cancel::Why;
use crate::end::End;
use crate::line::Place;

impl<W: Crew> Shared<W> {
    /// An attempt has ended; the job has, or waits for the next one. `Err` when its place was given up long ago.
    pub(super) fn ended(
        &self,
        state: &mut State<W>,
        mut entry: Entry<W>,
        came: Came,
        now: Instant,
    ) -> Result<Told<W>, W> {
        let Some(running) = state.running.remove(&entry.place.1) else {
            state.figures.abandoned -= 1;
            return Err(entry.work);
        };
        state.line.ended(running.key.as_ref(), running.bytes);
        let ran = now.since(running.since);
        state.figures.busy += ran;
        if let Some(metrics) = &self.config.metrics {
            metrics.ran(ran);
        }
        let end = match (came, entry.cancel.why()) {
            (Came::Done, _) => End::Done,
            (Came::Panicked(message), _) => End::Panicked(message),
            (_, Some(Why::Late)) => End::Late { abandoned: false },
            // A future that was dropped and not cancelled: its runtime is gone.
            (_, Some(Why::Unwanted)) | (Came::Dropped, None) => End::Cancelled { abandoned: false },
            (Came::Failed { class, retry_after }, None) => {
                match self.again(state, &entry, class, retry_after, now) {
                    Err(ended) => End::Failed(ended),
                    Ok(delay) => {
                        (entry.previous_delay, entry.room) = (delay, running.room);
                        state.figures.retries += 1;
                        state.delayed.insert((now.after(delay), entry.place.1), entry);
                        self.keeper.notify_one();
                        return Ok(Told { reply: None, _work: None });
                    }
                }
            }
        };
        Ok(self.end(state, entry, running.due, end))
    }

    /// Says how long to wait before the next attempt, or why there is none.
    pub(super) fn again(
        &self,
        state: &mut State<W>,
        entry: &Entry<W>,
        class: ErrorClass,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Result<Duration, Ended> {
        if !class.is_retryable() {
            return Err(Ended::Final);
        }
        let failed = Attempt {
            number: entry.attempts,
            elapsed: now.since(entry.first_began),
            previous_delay: entry.previous_delay,
            retry_after,
        };
        match self.config.retry.next(&failed, &mut state.random) {
            Next::Stop(limit) => Err(Ended::Limit(limit)),
            Next::Wait(delay) if entry.due.is_some_and(|due| now.after(delay) >= due) => {
                Err(Ended::Limit(Limit::Deadline))
            }
            Next::Wait(delay) => Ok(delay),
        }
    }

    /// A job that neither waits nor runs any more has ended.
    pub(super) fn end(
        &self,
        state: &mut State<W>,
        entry: Entry<W>,
        due: Option<Instant>,
        end: End,
    ) -> Told<W> {
        if let Some(due) = due {
            state.due.remove(&(due, entry.place.1));
        }
        self.count(state, &end);
        Told { reply: Some((entry.reply, end, entry.attempts)), _work: Some(entry.work) }
    }

    pub(super) fn count(&self, state: &mut State<W>, end: &End) {
        let figures = &mut state.figures;
        match end {
            End::Done => figures.done += 1,
            End::Failed(_) => figures.failed += 1,
            End::Panicked(_) => figures.panicked += 1,
            End::Late { .. } => figures.late += 1,
            End::Cancelled { .. } => figures.cancelled += 1,
        }
        if let Some(metrics) = &self.config.metrics {
            metrics.ended(end);
        }
        if state.is_idle() {
            self.emptied.notify_waiters();
        }
    }

    /// Takes a job that does not run out of the pool.
    pub(super) fn withdraw(&self, state: &mut State<W>, place: Place, end: End) -> Option<Told<W>> {
        let entry = state.line.remove(place).or_else(|| {
            let at = state.delayed.iter().find(|(_, entry)| entry.place == place).map(|(at, _)| *at)?;
            state.delayed.remove(&at)
        })?;
        let due = entry.due;
        Some(self.end(state, entry, due, end))
    }

    /// Asks the work of a job that runs to end. If it does not within the grace, the keeper gives its place up.
    pub(super) fn ask_to_end(&self, state: &mut State<W>, place: Place, why: Why, now: Instant) -> bool {
        let Some(running) = state.running.get_mut(&place.1) else { return false };
        if running.cancel.is_cancelled() {
            return true;
        }
        running.cancel.set(why);
        let due = now.after(self.config.cancel_grace);
        if let Some(old) = running.due.replace(due) {
            state.due.remove(&(old, place.1));
        }
        state.due.insert((due, place.1), place);
        self.keeper.notify_one();
        true
    }

    /// Gives up the place of work that does not return.
    pub(super) fn abandon(&self, state: &mut State<W>, place: Place) -> Option<Told<W>> {
        let running = state.running.remove(&place.1)?;
        state.line.ended(running.key.as_ref(), running.bytes);
        // The thread that has it serves this pool no more; whoever has it finds no entry when it comes back.
        state.threads = state.threads.saturating_sub(1);
        self.count_workers(state, self.clock.now());
        state.figures.abandoned += 1;
        state.figures.given_up += 1;
        let end = match running.cancel.why() {
            Some(Why::Unwanted) => End::Cancelled { abandoned: true },
            _ => End::Late { abandoned: true },
        };
        self.count(state, &end);
        Some(Told { reply: Some((running.reply, end, running.attempts)), _work: None })
    }
}
