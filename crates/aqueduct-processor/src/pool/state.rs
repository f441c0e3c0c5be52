//! Who waits, who runs, who is late, and which threads there are. No clock and no lock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;

use aqueduct_core::{Instant, Random};

use super::entry::{Entry, Running};
use crate::config::Config;
use crate::figures::Figures;
use crate::line::{Line, Place, Waiting};

/// What the lock of a pool guards.
pub(crate) struct State<W> {
    pub(super) line: Line<Entry<W>>,
    /// Jobs that wait for their next attempt.
    pub(super) delayed: BTreeMap<(Instant, u64), Entry<W>>,
    pub(super) running: HashMap<u64, Running>,
    /// Jobs by when they are to be cancelled, or, cancelled, to be given up.
    pub(super) due: BTreeMap<(Instant, u64), Place>,
    pub(super) size: usize,
    /// Threads that serve this pool. Not used where tasks do.
    pub(super) threads: usize,
    /// Those that have begun and not yet looked for a job.
    pub(super) starting: usize,
    /// For each thread that waits for a job, since when. Whoever takes one takes the latest, whichever thread it is, so
    /// the first tells how long there has been a thread too many.
    pub(super) idle: VecDeque<Instant>,
    /// Whether the system last gave no thread where one was wanted.
    pub(super) lacks_threads: bool,
    /// Up to when the workers' time is added up.
    pub(super) counted: Instant,
    /// Each has the most workers that there were since it was made.
    pub(super) marks: Vec<Weak<AtomicUsize>>,
    /// When a job was last taken, or the first one came.
    pub(super) taken: Instant,
    pub(super) next_id: u64,
    pub(super) closed: bool,
    pub(super) stopped: bool,
    pub(super) figures: Figures,
    pub(super) random: Random,
}

impl<W> State<W> {
    /// Puts a job into the line, for the first time or again.
    pub(super) fn wait(&mut self, entry: Entry<W>, now: Instant) {
        if self.line.len() == 0 {
            // Nobody waited until now.
            self.taken = now;
        }
        let waiting = Waiting { key: entry.job.key.clone(), bytes: entry.job.bytes, item: entry };
        self.line.push(waiting.item.place, waiting);
    }

    /// How many jobs may run at once: what is lost beyond what is made up for makes the pool smaller.
    pub(super) fn workers(&self, config: &Config) -> usize {
        self.size.saturating_sub(self.figures.abandoned.saturating_sub(config.abandoned_max))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.line.len() == 0 && self.delayed.is_empty() && self.running.is_empty()
    }

    /// The fewest threads that there are to be.
    pub(super) fn threads_min(&self, config: &Config) -> usize {
        config.size_min.unwrap_or(self.size).min(self.workers(config))
    }

    /// How many jobs can run at once: not more than there are threads, where the system gives no other.
    pub(super) fn can_run(&self, config: &Config) -> usize {
        let workers = self.workers(config);
        if self.lacks_threads { self.threads.min(workers) } else { workers }
    }

    /// When there will have been a thread too many for so long that one ends; in the past for those that are about to.
    pub(super) fn unneeded(&self, config: &Config) -> impl Iterator<Item = Instant> {
        let spare = self.threads.saturating_sub(self.threads_min(config));
        self.idle.iter().take(spare).map(|since| since.after(config.idle_max))
    }
}
