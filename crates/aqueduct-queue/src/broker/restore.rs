//! What a store has, made into the state of its broker as it is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};

use crate::config::Config;
use crate::contract::Dead;
use crate::index::{Arrival, Tick};
use crate::log::{Found, Head, Numbers};
use crate::message::{Message, MessageId};

use super::state::{Buried, State, arrival};

/// A state that is being made. Dropped where the store is refused in the end.
#[derive(Debug)]
pub(crate) struct Restoring {
    state: State,
    /// Dead letters whose message has not come yet.
    dead: HashMap<MessageId, Dead>,
    now: Tick,
    wall: Timestamp,
    /// Until a process says how it wants each queue.
    config: Arc<Config>,
}

impl Restoring {
    pub(crate) fn at(clock: &Clock) -> Self {
        let mut state = State::default();
        state.count_from(Numbers::default());
        Self {
            state,
            dead: HashMap::new(),
            now: super::tick(clock),
            wall: clock.wall(),
            config: Arc::default(),
        }
    }

    pub(crate) fn take(&mut self, found: Found) {
        match found {
            Found::Group(group) => self.state.add_group(group, &self.config),
            Found::Dead(id, dead) => drop(self.dead.insert(id, dead)),
            Found::Message { head, after_crash } => self.message(head, after_crash),
            Found::Remembered { queue, dedup_id, id, until } => {
                let until = self.tick(until, Duration::ZERO, Config::DEDUP_WINDOW_MAX);
                if let Some(queue) = self.state.queues.get_mut(&queue) {
                    queue.dedup.remember(dedup_id, id, until);
                }
            }
        }
    }

    /// Sets where numbers go on.
    pub(crate) fn count_from(&mut self, numbers: Numbers) {
        self.state.count_from(numbers);
    }

    fn message(&mut self, head: Head, after_crash: bool) {
        let since = self.tick(head.published, Message::DELAY_MAX, Duration::ZERO);
        // Not longer than from the publication on, should the date have been set back since.
        let latest = |due: Timestamp| millis(due.0.saturating_sub(head.published.0));
        let due = head.due.map(|due| self.tick(due, Duration::ZERO, latest(due)));
        let Some(group) = self.state.groups.get_mut(&head.group) else { return };
        match self.dead.remove(&head.id) {
            Some(dead) => {
                group.dead_bytes += u64::from(head.bytes);
                group.dead.insert(head.id, Buried { head, dead });
            }
            None => {
                let due = due.filter(|due| *due > self.now);
                group.index.insert(&Arrival { after_crash, ..arrival(&head, since, due) });
            }
        }
    }

    pub(super) fn finish(mut self) -> State {
        for queue in self.state.queues.values_mut() {
            queue.dedup.sort();
        }
        self.state
    }

    /// A date that was written down, on the broker's clock: not before `earliest` and not after `latest`, however the
    /// machine's date was set since.
    fn tick(&self, date: Timestamp, earliest: Duration, latest: Duration) -> Tick {
        let millis = date.0.saturating_sub(self.wall.0);
        let distance = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 {
            self.now.before(distance.min(earliest))
        } else {
            self.now.after(distance.min(latest))
        }
    }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
