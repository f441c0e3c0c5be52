//! The one task of a pool that waits for times: retries that are due, deadlines, graces.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aqueduct_core::Instant;

use super::control::Control;
use super::shared::{Crew, Shared};
use crate::cancel::Why;
use crate::end::End;

/// How long after the system gave no thread it is asked again.
const THREAD_AGAIN: Duration = Duration::from_secs(1);

/// Stops the pool when its keeper is gone, which happens with the runtime: nobody would keep its deadlines.
struct Keeper<W: Crew>(Weak<Shared<W>>);

impl<W: Crew> Drop for Keeper<W> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.stop();
        }
    }
}

/// Begins to keep the times of a pool.
pub(super) fn keep<W: Crew>(shared: &Arc<Shared<W>>) {
    shared.handle.spawn(serve(Keeper(Arc::downgrade(shared))));
}

async fn serve<W: Crew>(keeper: Keeper<W>) {
    loop {
        let Some(shared) = keeper.0.upgrade() else { return };
        // A job's own drop may run in here, and must not end the keeper.
        let next = catch_unwind(AssertUnwindSafe(|| shared.tick())).unwrap_or(Tick::At(shared.clock.now()));
        match next {
            Tick::Over => return,
            Tick::Idle => shared.keeper.notified().await,
            Tick::At(next) => {
                tokio::select! {
                    () = shared.keeper.notified() => {}
                    () = shared.clock.sleep(next.since(shared.clock.now())) => {}
                }
            }
        }
    }
}

/// When the keeper is wanted next.
enum Tick {
    At(Instant),
    /// When it is told.
    Idle,
    /// The pool has stopped, and nothing runs.
    Over,
}

impl<W: Crew> Shared<W> {
    /// Does everything that is due.
    fn tick(self: &Arc<Self>) -> Tick {
        let now = self.clock.now();
        let mut told = Vec::new();
        let mut state = self.lock();
        while let Some(first) = state.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let entry = first.remove();
            state.wait(entry, now);
        }
        while let Some(first) = state.due.first_entry() {
            if first.key().0 > now {
                break;
            }
            let place = first.remove();
            let running = state.running.get(&place.1).map(|running| running.cancel.is_cancelled());
            match running {
                Some(true) => told.extend(self.abandon(&mut state, place)),
                Some(false) => {
                    self.ask_to_end(&mut state, place, Why::Late, now);
                }
                None => told.extend(self.withdraw(&mut state, place, End::Late { abandoned: false })),
            }
        }
        let mut next = [state.delayed.keys().next(), state.due.keys().next()]
            .into_iter()
            .flatten()
            .map(|(at, _)| *at)
            .min();
        let over = state.stopped && state.is_idle();
        W::kick(self, state);
        next = next.into_iter().chain(self.look_at_threads(now)).min();
        for told in told {
            told.now();
        }
        match next {
            _ if over => Tick::Over,
            Some(next) => Tick::At(next),
            None => Tick::Idle,
        }
    }

    /// Wakes threads that were not needed for long, which then end, and tells when to look again.
    fn look_at_threads(&self, now: Instant) -> Option<Instant> {
        let state = self.lock();
        let unneeded = state.unneeded(&self.config).take_while(|at| *at <= now).count();
        for _ in 0..unneeded {
            self.work.notify_one();
        }
        let next = state.unneeded(&self.config).find(|at| *at > now);
        let lacks_threads = state.lacks_threads.then(|| now.after(THREAD_AGAIN));
        next.into_iter().chain(lacks_threads).min()
    }
}
