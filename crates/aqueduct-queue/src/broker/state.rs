use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Timestamp;
use tokio::sync::{Notify, watch};

use crate::config::{Config, DeadLettersFull};
use crate::contract::{Dead, DeadCause, Pressure};
use crate::error::{AdminError, Broken};
use crate::index::{Arrival, Entry, Index, Leased, Tick};
use crate::log::{Change, Group, GroupId, Head, Numbers};
use crate::message::MessageId;
use crate::topic::Pattern;

/// All that is known in memory.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: HashMap<Box<str>, QueueState>,
    pub(super) groups: BTreeMap<GroupId, GroupState>,
    next_id: u64,
    next_lease: u64,
    /// Why nothing works any more.
    pub(super) broken: Option<Broken>,
}

#[derive(Debug)]
pub(super) struct QueueState {
    pub(super) config: Arc<Config>,
    pub(super) groups: Vec<GroupId>,
    pub(super) dedup: Dedup,
    pub(super) pressure: watch::Sender<Pressure>,
    /// Told each time that room may have come about.
    pub(super) room: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) group: Group,
    pub(super) pattern: Pattern,
    pub(super) config: Arc<Config>,
    pub(super) index: Index,
    pub(super) dead: BTreeMap<MessageId, Buried>,
    pub(super) dead_bytes: u64,
    pub(super) dead_dropped: u64,
    /// What is being published: it has its room, and is not in the index yet.
    promised_items: u64,
    promised_bytes: u64,
    /// Told each time that something can be handed out, or that the time at which it can is another one.
    pub(super) work: Arc<Notify>,
}

/// A dead letter, with what is needed to put it back.
#[derive(Clone, Debug)]
pub(super) struct Buried {
    pub(super) head: Head,
    pub(super) dead: Dead,
}

/// Dedup ids, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Dedup {
    known: HashMap<Box<str>, MessageId>,
    order: VecDeque<(Tick, Box<str>)>,
}

impl Dedup {
    pub(super) fn find(&self, id: &str) -> Option<MessageId> {
        self.known.get(id).copied()
    }

    pub(super) fn remember(&mut self, id: Box<str>, message: MessageId, until: Tick) {
        self.known.insert(id.clone(), message);
        self.order.push_back((until, id));
    }

    /// Brings into order what was remembered in another one.
    pub(super) fn sort(&mut self) {
        self.order.make_contiguous().sort();
    }

    /// Forgets what is over, and the oldest where there are more than `items_max`.
    pub(super) fn forget(&mut self, now: Tick, items_max: usize) -> impl Iterator<Item = Box<str>> + '_ {
        std::iter::from_fn(move || {
            let (until, _) = self.order.front()?;
            if *until > now && self.order.len() <= items_max {
                return None;
            }
            let (_, id) = self.order.pop_front()?;
            self.known.remove(&id);
            Some(id)
        })
    }
}

/// A date some time after another one.
pub(super) fn later(date: Timestamp, by: Duration) -> Timestamp {
    Timestamp(date.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

impl State {
    /// Sets where numbers go on.
    pub(super) fn count_from(&mut self, numbers: Numbers) {
        self.next_id = numbers.next_id.max(1);
        // Later openings give greater numbers; 2^40 leases are 300 years of a hundred a second.
        self.next_lease = u64::from(numbers.opening) << 40;
    }

    /// Adds a group to its queue, which comes to be with its first one.
    pub(super) fn add_group(&mut self, group: Group, config: &Arc<Config>) {
        let queue = self.queues.entry(group.queue.clone()).or_insert_with(|| QueueState {
            config: Arc::clone(config),
            groups: Vec::new(),
            dedup: Dedup::default(),
            pressure: watch::Sender::default(),
            room: Arc::default(),
        });
        queue.groups.push(group.id);
        let added = GroupState {
            // It was checked when the group was declared.
            pattern: Pattern::new(group.pattern.clone()).unwrap_or_else(|_| Pattern::all()),
            config: Arc::clone(config),
            index: Index::new(config),
            dead: BTreeMap::new(),
            dead_bytes: 0,
            dead_dropped: 0,
            promised_items: 0,
            promised_bytes: 0,
            work: Arc::default(),
            group,
        };
        self.groups.insert(added.group.id, added);
    }

    pub(super) fn next_group(&self) -> GroupId {
        self.groups.last_key_value().map_or(GroupId(0), |(id, _)| GroupId(id.0 + 1))
    }

    pub(super) fn next_id(&mut self) -> MessageId {
        self.next_id += 1;
        MessageId(self.next_id - 1)
    }

    pub(super) fn next_lease(&mut self) -> u64 {
        self.next_lease += 1;
        self.next_lease
    }

    pub(super) fn check(&self) -> Result<(), Broken> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Nothing works from now on; whoever waits is told.
    pub(super) fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
        for queue in self.queues.values() {
            queue.room.notify_waiters();
        }
        for group in self.groups.values() {
            group.work.notify_waiters();
            // Nobody may be waiting yet who is about to.
            group.work.notify_one();
        }
    }

    pub(super) fn find(&self, queue: &str, group: &str) -> Option<GroupId> {
        let groups = &self.queues.get(queue)?.groups;
        groups.iter().copied().find(|id| self.groups.get(id).is_some_and(|found| &*found.group.name == group))
    }

    /// The group of that name, if everything works.
    pub(super) fn group(&mut self, queue: &str, group: &str) -> Result<&mut GroupState, AdminError> {
        self.check()?;
        let found = self.find(queue, group).and_then(|id| self.groups.get_mut(&id));
        found.ok_or_else(|| AdminError::NoGroup { queue: queue.to_owned(), group: group.to_owned() })
    }

    pub(super) fn names(&self) -> Vec<(String, Vec<String>)> {
        let name = |id: &GroupId| self.groups.get(id).map(|group| group.group.name.to_string());
        let mut names: Vec<(String, Vec<String>)> = Vec::with_capacity(self.queues.len());
        for (queue, state) in &self.queues {
            names.push((queue.to_string(), state.groups.iter().filter_map(name).collect()));
        }
        names.sort();
        names
    }

    pub(super) fn pressure(&self, queue: &str) -> Result<watch::Receiver<Pressure>, AdminError> {
        self.check()?;
        let found = self.queues.get(queue);
        let missing =
            || AdminError::NoGroup { queue: queue.to_owned(), group: Config::DEFAULT_GROUP.to_owned() };
        found.map(|queue| queue.pressure.subscribe()).ok_or_else(missing)
    }

    /// Tells publishers that there may be room.
    pub(super) fn tell_room(&self, queue: &str) {
        self.tell_pressure(queue);
        if let Some(queue) = self.queues.get(queue) {
            queue.room.notify_waiters();
        }
    }

    /// Tells publishers how full a queue is.
    pub(super) fn tell_pressure(&self, queue: &str) {
        let Some(queue) = self.queues.get(queue) else { return };
        let groups = queue.groups.iter().filter_map(|id| self.groups.get(id));
        let (mut full, mut open) = (false, true);
        for group in groups {
            let (items, bytes) = (group.items(), group.bytes());
            full |= items >= queue.config.items_max || bytes >= queue.config.bytes_max;
            // Nine tenths, without overflow.
            open &= items <= queue.config.items_max - queue.config.items_max / 10
                && bytes <= queue.config.bytes_max - queue.config.bytes_max / 10;
        }
        queue.pressure.send_if_modified(|pressure| {
            let next = match *pressure {
                Pressure::Open if full => Pressure::Full,
                Pressure::Full if open && !full => Pressure::Open,
                same => same,
            };
            std::mem::replace(pressure, next) != next
        });
    }
}

impl GroupState {
    /// Messages that take room: those in the index and those that come.
    pub(super) fn items(&self) -> u64 {
        self.index.len() + self.promised_items
    }

    pub(super) fn bytes(&self) -> u64 {
        self.index.bytes() + self.promised_bytes
    }

    /// Keeps room for a message that comes.
    pub(super) fn promise(&mut self, bytes: u32) {
        self.promised_items += 1;
        self.promised_bytes += u64::from(bytes);
    }

    /// A message that was promised is there.
    pub(super) fn keep_promise(&mut self, head: &Head, since: Tick, due: Option<Tick>) {
        self.promised_items -= 1;
        self.promised_bytes -= u64::from(head.bytes);
        self.index.insert(&arrival(head, since, due));
        self.work.notify_one();
    }

    /// What a message's row says now.
    pub(super) fn head(&self, entry: &Entry, due: Option<Timestamp>) -> Head {
        let tenant = self.index.tenant(entry);
        Head {
            id: entry.id,
            group: self.group.id,
            priority: entry.priority,
            attempts: u32::from(entry.attempts),
            published: entry.published,
            due,
            bytes: entry.bytes,
            key: self.index.key(entry).map(Into::into),
            tenant: (!tenant.is_empty()).then(|| tenant.into()),
        }
    }

    /// Makes a message a dead letter, if there is room for it. What is left to do is for when it is written.
    pub(super) fn bury(
        &mut self,
        leased: Leased,
        dead: Dead,
        now: Tick,
        wall: Timestamp,
        changes: &mut Vec<Change>,
    ) -> After {
        let entry = leased.entry;
        let full = |group: &Self| {
            group.dead.len() as u64 >= group.config.dead_items_max
                || group.dead_bytes + u64::from(entry.bytes) > group.config.dead_bytes_max
        };
        if full(self) && self.config.dead_full == DeadLettersFull::Hold {
            let until = later(wall, Config::HELD_FOR);
            changes.push(Change::Update(self.head(&entry, Some(until))));
            return After::GiveBack(leased, Some(now.after(Config::HELD_FOR)));
        }
        while full(self)
            && let Some((id, oldest)) = self.dead.pop_first()
        {
            self.dead_bytes -= u64::from(oldest.head.bytes);
            self.dead_dropped += 1;
            changes.push(Change::Remove(id));
        }
        let head = self.head(&entry, None);
        changes.push(Change::Update(head.clone()));
        changes.push(Change::Bury(entry.id, dead.clone()));
        self.dead_bytes += u64::from(head.bytes);
        self.dead.insert(entry.id, Buried { head, dead });
        After::Finish(leased)
    }

    /// Ends leases that ran out and lets in what is due. The attempts of what ran out were counted when they began.
    pub(super) fn sweep(&mut self, now: Tick, wall: Timestamp, changes: &mut Vec<Change>) -> Vec<After> {
        let mut after = Vec::new();
        for leased in self.index.advance(now) {
            if u32::from(leased.entry.attempts) < self.config.attempts_max {
                self.index.give_back(leased, None);
                continue;
            }
            after.push(self.bury(leased, Dead::out_of_attempts(wall), now, wall, changes));
        }
        after
    }

    /// Does what was left to do.
    pub(super) fn settle(&mut self, after: After) {
        match after {
            After::Finish(leased) => self.index.finish(leased),
            After::GiveBack(leased, due) => self.index.give_back(leased, due),
        }
        self.work.notify_one();
    }
}

impl Dead {
    /// Of a message whose last worker did not say what became of it.
    pub(super) fn out_of_attempts(at: Timestamp) -> Self {
        let reason = "its lease ran out, or the process of its worker died".into();
        Self { at, cause: DeadCause::Attempts, reason }
    }
}

/// What is done with a message once the log has what became of it.
#[derive(Debug)]
pub(super) enum After {
    /// It is gone.
    Finish(Leased),
    /// It comes again, then.
    GiveBack(Leased, Option<Tick>),
}

pub(super) fn arrival<'a>(head: &'a Head, since: Tick, due: Option<Tick>) -> Arrival<'a> {
    Arrival {
        id: head.id,
        priority: head.priority,
        attempts: u16::try_from(head.attempts).unwrap_or(u16::MAX),
        after_crash: false,
        published: head.published,
        bytes: head.bytes,
        key: head.key.as_deref(),
        tenant: head.tenant.as_deref(),
        since,
        due,
    }
}
