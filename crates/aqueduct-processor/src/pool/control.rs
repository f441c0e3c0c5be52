//! What can be done to a pool from outside, whatever it runs.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use aqueduct_core::{ConfigError, Instant};
use tokio::sync::{Notify, Semaphore};

use super::shared::{Crew, Shared};
use crate::cancel::Why;
use crate::config::Config;
use crate::end::End;
use crate::figures::{Figures, Health};
use crate::line::Place;

/// A pool, whatever it runs.
pub(crate) trait Control: Send + Sync {
    fn resize(&self, size: usize) -> Result<(), ConfigError>;
    fn figures(&self) -> Figures;
    fn health(&self) -> Health;
    /// The most workers that there are, from now on until it is dropped.
    fn mark(&self) -> Arc<AtomicUsize>;
    /// Room for jobs.
    fn room(&self) -> &Semaphore;
    fn config(&self) -> &Config;
    /// Cancels one job, if it has not ended.
    fn cancel(&self, place: Place);
    /// Takes nothing new.
    fn close(&self);
    /// Takes nothing new, and cancels everything.
    fn stop(&self);
    fn is_idle(&self) -> bool;
    /// Told whenever the last job has ended.
    fn emptied(&self) -> &Notify;
}

impl<W: Crew> Control for Shared<W> {
    fn resize(&self, size: usize) -> Result<(), ConfigError> {
        self.config.check_size(size)?;
        let mut state = self.lock();
        state.size = size;
        self.count_workers(&mut state, self.clock.now());
        self.work.notify_all();
        if let Some(me) = self.me.upgrade() {
            W::kick(&me, state);
        }
        Ok(())
    }

    fn figures(&self) -> Figures {
        let now = self.clock.now();
        let mut state = self.lock();
        self.count_workers(&mut state, now);
        let (bytes, bytes_high) = state.line.bytes();
        Figures {
            size: state.size,
            waiting: state.line.len(),
            delayed: state.delayed.len(),
            running: state.running.len(),
            bytes,
            bytes_high,
            ..state.figures.clone()
        }
    }

    fn health(&self) -> Health {
        let now = self.clock.now();
        let state = self.lock();
        let stalled = if state.line.len() == 0 { Duration::ZERO } else { now.since(state.taken) };
        let workers = state.can_run(&self.config);
        let live = stalled <= self.config.stall_max && workers > 0 && !state.stopped;
        Health { live, stalled, workers, present: W::present(&state) }
    }

    fn room(&self) -> &Semaphore {
        &self.room
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn mark(&self) -> Arc<AtomicUsize> {
        let mut state = self.lock();
        let mark = Arc::new(AtomicUsize::new(W::present(&state)));
        state.marks.retain(|mark| mark.strong_count() > 0);
        state.marks.push(Arc::downgrade(&mark));
        mark
    }

    fn cancel(&self, place: Place) {
        let now = self.clock.now();
        let told = {
            let mut state = self.lock();
            if self.ask_to_end(&mut state, place, Why::Unwanted, now) {
                return;
            }
            let told = self.withdraw(&mut state, place, End::Cancelled { abandoned: false });
            // It may have held up those behind it.
            if let Some(me) = self.me.upgrade() {
                W::kick(&me, state);
            }
            told
        };
        if let Some(told) = told {
            told.now();
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.room.close();
    }

    fn stop(&self) {
        let now = self.clock.now();
        let mut told = Vec::new();
        {
            let mut state = self.lock();
            (state.closed, state.stopped) = (true, true);
            self.room.close();
            let waiting = state.line.clear();
            for entry in waiting.into_iter().chain(std::mem::take(&mut state.delayed).into_values()) {
                let due = entry.due;
                told.push(self.end(&mut state, entry, due, End::Cancelled { abandoned: false }));
            }
            let running: Vec<u64> = state.running.keys().copied().collect();
            for id in running {
                // Only the number tells jobs that run apart.
                self.ask_to_end(&mut state, (Instant::ZERO, id), Why::Unwanted, now);
            }
            self.work.notify_all();
            self.keeper.notify_one();
        }
        for told in told {
            told.now();
        }
    }

    fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    fn emptied(&self) -> &Notify {
        &self.emptied
    }
}
