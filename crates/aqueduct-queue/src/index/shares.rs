use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Fairness};
use crate::contract::TenantShare;
use crate::message::{MessageId, Priority};

use super::line::Line;
use super::{Entry, Tick};

/// The place of a tenant in [`Shares`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TenantId(u32);

/// Shares the workers' time among tenants.
///
/// Start-time fair queueing: Goyal, Vin and Cheng, "Start-time Fair Queuing: A Scheduling Algorithm for Integrated
/// Services Packet Switching Networks", SIGCOMM 1996. The cost of a message is the time that its worker takes, which is
/// known only afterwards: the tenant's mean so far is charged when it is handed out, and put right when it is settled.
/// Decision 0011 says why this and not deficit round robin.
#[derive(Debug)]
pub(super) struct Shares {
    ids: HashMap<Arc<str>, TenantId>,
    tenants: Vec<Option<Tenant>>,
    free: Vec<TenantId>,
    /// Tenants with messages in their lines, those that have had least first.
    turns: BTreeSet<(u64, TenantId)>,
    /// The virtual time: where the tenant stood that was served last.
    virtual_now: u64,
    ready: u64,
    leased: u64,
    /// Handler time of all tenants, fading.
    recent: Fading,
    weights: HashMap<Box<str>, u32>,
    fairness: Fairness,
    /// Tenants without messages are looked through when there are this many.
    sweep_at: usize,
}

#[derive(Debug)]
struct Tenant {
    name: Arc<str>,
    weight: u32,
    /// The handler time that it has had, in microseconds by its weight, on the scale of the virtual time.
    had: u64,
    /// What one of its messages takes, in microseconds.
    mean: u64,
    lines: [Line; Priority::ALL.len()],
    ready: u64,
    leased: u64,
    /// Its messages, wherever they are.
    messages: u64,
    recent: Fading,
}

/// What a message is thought to take before one was settled, in microseconds: enough that tenants take turns.
const COST_FIRST: u64 = 1000;
/// A new cost is an eighth of the mean, as in the round trip times of TCP (RFC 6298).
const COST_SHIFT: u32 = 3;
/// The rule of SQS fair queues: more than a tenth, and at least so many at once.
const NOISY_RATIO: f64 = 0.1;
const NOISY_LEASED: u64 = 30;
const SWEEP_MIN: usize = 1024;

impl Shares {
    pub(super) fn new(config: &Config) -> Self {
        let mut shares = Self {
            ids: HashMap::new(),
            tenants: Vec::new(),
            free: Vec::new(),
            turns: BTreeSet::new(),
            virtual_now: 0,
            ready: 0,
            leased: 0,
            recent: Fading::default(),
            weights: config.weights.iter().cloned().collect(),
            fairness: config.fairness,
            sweep_at: SWEEP_MIN,
        };
        // The first one is always there: that of messages without a tenant, and of all where fairness is off.
        shares.tenant("");
        shares
    }

    pub(super) fn configure(&mut self, config: &Config) {
        self.weights = config.weights.iter().cloned().collect();
        for tenant in self.tenants.iter_mut().flatten() {
            tenant.weight = self.weights.get(&*tenant.name).copied().unwrap_or(1);
        }
        if self.fairness != config.fairness {
            let entries = self.drain();
            self.fairness = config.fairness;
            entries.into_iter().for_each(|entry| self.push(entry));
        }
    }

    /// The tenant of a message that comes in, which it [`leave`](Self::leave)s again.
    pub(super) fn tenant(&mut self, name: &str) -> TenantId {
        let id = match self.ids.get(name) {
            Some(id) => *id,
            None => self.add(name),
        };
        self.get(id).messages += 1;
        id
    }

    /// A message is gone for good, and in no line.
    pub(super) fn leave(&mut self, id: TenantId) {
        self.get(id).messages -= 1;
    }

    pub(super) fn name(&self, id: TenantId) -> &str {
        self.tenants[id.0 as usize].as_ref().map_or("", |tenant| &tenant.name)
    }

    pub(super) fn ready(&self) -> u64 {
        self.ready
    }

    /// Puts a message into its line.
    pub(super) fn push(&mut self, entry: Entry) {
        let (id, virtual_now) = (self.line_of(entry.tenant), self.virtual_now);
        let tenant = self.get(id);
        tenant.lines[usize::from(entry.priority.level())].push(entry);
        tenant.ready += 1;
        if tenant.ready == 1 {
            // Whoever had nothing waiting saves nothing up, and owes one of its messages at most: that its last one took
            // unusually long is no reason to let the next one wait.
            let owed_most = virtual_now.saturating_add(tenant.mean / u64::from(tenant.weight));
            tenant.had = tenant.had.clamp(virtual_now, owed_most);
            let turn = (tenant.had, id);
            self.turns.insert(turn);
        }
        self.ready += 1;
    }

    /// Whose turn it is: who has had least, but the quiet before the noisy. There are at most some twenty noisy ones, so
    /// few are passed over.
    fn next_turn(&self, now: Tick) -> Option<(u64, TenantId)> {
        let first = *self.turns.first()?;
        // Where tenants have weights, these alone decide.
        if self.turns.len() == 1 || !self.weights.is_empty() {
            return Some(first);
        }
        let leased = self.leased;
        let recent = self.recent.at(now);
        let is_quiet = |(_, id): &&(u64, TenantId)| {
            self.tenants[id.0 as usize].as_ref().is_some_and(|tenant| !tenant.is_noisy(leased, recent, now))
        };
        Some(self.turns.iter().find(is_quiet).copied().unwrap_or(first))
    }

    /// What goes next.
    pub(super) fn peek(&self, ageing: Option<Duration>, now: Tick) -> Option<&Entry> {
        let (_, id) = self.next_turn(now)?;
        let tenant = self.tenants[id.0 as usize].as_ref()?;
        tenant.lines[tenant.next_line(ageing)?].front()
    }

    /// Takes what goes next, and what its tenant was charged for it.
    pub(super) fn take(&mut self, ageing: Option<Duration>, now: Tick) -> Option<(Entry, u64)> {
        let (had, id) = self.next_turn(now)?;
        self.turns.remove(&(had, id));
        // Neither a refund nor who was passed over puts the time back.
        self.virtual_now = self.virtual_now.max(had);
        self.ready -= 1;
        self.leased += 1;
        let tenant = self.tenants[id.0 as usize].as_mut()?;
        let line = tenant.next_line(ageing)?;
        let entry = tenant.lines[line].pop()?;
        let charged = tenant.mean;
        tenant.ready -= 1;
        tenant.leased += 1;
        tenant.had = tenant.had.saturating_add(charged / u64::from(tenant.weight));
        if tenant.ready > 0 {
            self.turns.insert((tenant.had, id));
        }
        Some((entry, charged))
    }

    /// A worker has spent this time on a message, which is in nobody's line now.
    pub(super) fn spent(&mut self, tenant: TenantId, charged: u64, spent: u64, now: Tick) {
        self.recent.add(spent, now);
        let id = self.line_of(tenant);
        let tenant = self.get(id);
        tenant.recent.add(spent, now);
        tenant.mean = (tenant.mean - (tenant.mean >> COST_SHIFT) + (spent >> COST_SHIFT)).max(1);
        self.put_right(id, charged, spent);
    }

    /// A message was not worked on, and comes back with [`push`](Self::push).
    pub(super) fn refund(&mut self, tenant: TenantId, charged: u64) {
        self.put_right(self.line_of(tenant), charged, 0);
    }

    fn put_right(&mut self, id: TenantId, charged: u64, spent: u64) {
        self.leased -= 1;
        let tenant = self.get(id);
        // Where fairness was switched while a worker had the message, another one was charged.
        tenant.leased = tenant.leased.saturating_sub(1);
        let before = (tenant.had, id);
        let weight = u64::from(tenant.weight);
        tenant.had = tenant.had.saturating_add(spent / weight).saturating_sub(charged / weight);
        let after = (tenant.had, id);
        if tenant.ready > 0 && before != after {
            self.turns.remove(&before);
            self.turns.insert(after);
        }
    }

    pub(super) fn oldest(&self) -> Option<Tick> {
        let lines = self.tenants.iter().flatten().flat_map(|tenant| &tenant.lines);
        lines.filter_map(|line| line.front().map(|entry| entry.since)).min()
    }

    pub(super) fn report(&self, now: Tick) -> Vec<TenantShare> {
        let (recent, leased) = (self.recent.at(now), self.leased);
        let is_there = |tenant: &&Tenant| {
            // The first one has a message too many, so that it is never swept.
            tenant.ready + tenant.leased > 0 || tenant.messages > u64::from(tenant.name.is_empty())
        };
        let tenants = self.tenants.iter().flatten().filter(is_there);
        let others = tenants.clone().count() > 1;
        let share = |tenant: &Tenant| TenantShare {
            tenant: (&*tenant.name).into(),
            ready: tenant.ready,
            leased: tenant.leased,
            time_ratio: if recent > 0.0 { tenant.recent.at(now) / recent } else { 0.0 },
            noisy: others && tenant.is_noisy(leased, recent, now),
        };
        tenants.map(share).collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.tenants.iter().flatten().flat_map(|tenant| tenant.lines.iter().flat_map(Line::entries))
    }

    /// Takes out all lines.
    pub(super) fn drain(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (_, id) in std::mem::take(&mut self.turns) {
            let tenant = self.get(id);
            tenant.ready = 0;
            entries.extend(tenant.lines.iter_mut().flat_map(Line::drain));
        }
        self.ready = 0;
        entries
    }

    /// Takes these out of their lines.
    pub(super) fn remove(&mut self, ids: &HashSet<MessageId>) -> Vec<Entry> {
        let mut removed = Vec::new();
        for (index, tenant) in self.tenants.iter_mut().enumerate() {
            let Some(tenant) = tenant else { continue };
            let before = removed.len();
            removed.extend(tenant.lines.iter_mut().flat_map(|line| line.remove(ids)));
            let count = (removed.len() - before) as u64;
            tenant.ready -= count;
            self.ready -= count;
            if count > 0 && tenant.ready == 0 {
                self.turns.remove(&(tenant.had, TenantId(u32::try_from(index).unwrap_or(u32::MAX))));
            }
        }
        removed
    }

    fn add(&mut self, name: &str) -> TenantId {
        if self.ids.len() >= self.sweep_at {
            self.sweep();
        }
        let name: Arc<str> = name.into();
        let tenant = Tenant {
            name: Arc::clone(&name),
            weight: self.weights.get(&*name).copied().unwrap_or(1),
            had: self.virtual_now,
            mean: COST_FIRST,
            lines: Default::default(),
            ready: 0,
            leased: 0,
            messages: 0,
            recent: Fading::default(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.tenants[id.0 as usize] = Some(tenant);
                id
            }
            None => {
                self.tenants.push(Some(tenant));
                TenantId(
                    u32::try_from(self.tenants.len() - 1)
                        .expect("a group has at most 1,000,000,000 messages"),
                )
            }
        };
        self.ids.insert(name, id);
        id
    }

    /// Lets go of tenants without messages that owe nothing. Done each time that they have doubled, so O(1) for each.
    fn sweep(&mut self) {
        for index in 0..self.tenants.len() {
            let owes = |tenant: &Tenant| tenant.had > self.virtual_now;
            if let Some(tenant) = &self.tenants[index]
                && tenant.messages == 0
                && !owes(tenant)
            {
                self.ids.remove(&tenant.name);
                self.tenants[index] = None;
                self.free.push(TenantId(u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        self.sweep_at = (self.ids.len() * 2).max(SWEEP_MIN);
    }

    /// In whose lines a tenant's messages stand.
    fn line_of(&self, tenant: TenantId) -> TenantId {
        match self.fairness {
            Fairness::ByTenant => tenant,
            Fairness::Off => TenantId(0),
        }
    }

    fn get(&mut self, id: TenantId) -> &mut Tenant {
        self.tenants[id.0 as usize].as_mut().expect("a message of the tenant is there")
    }
}

impl Tenant {
    /// Whether it takes more than a tenth of the workers: now and at least so many, or over the last while. Two who do are both
    /// noisy, and so equal again.
    fn is_noisy(&self, leased: u64, recent: f64, now: Tick) -> bool {
        let many = self.leased >= NOISY_LEASED && self.leased as f64 > NOISY_RATIO * leased as f64;
        many || self.recent.at(now) > NOISY_RATIO * recent
    }

    /// Which line goes first: the one whose front would be served first if each priority below the highest had
    /// published it so many ageings later. So nothing goes past a message that was published more than that after it.
    fn next_line(&self, ageing: Option<Duration>) -> Option<usize> {
        let fronts = self.lines.iter().enumerate().rev();
        let fronts = fronts.filter_map(|(level, line)| line.front().map(|entry| (level, entry)));
        let Some(ageing) = ageing else { return fronts.map(|(level, _)| level).next() };
        let below = |level: usize| u32::try_from(self.lines.len() - 1 - level).unwrap_or(0);
        fronts.min_by_key(|(level, entry)| entry.since.after(ageing * below(*level))).map(|(level, _)| level)
    }
}

/// A sum of which half is forgotten each minute.
#[derive(Clone, Copy, Debug, Default)]
struct Fading {
    sum: f64,
    at: Tick,
}

impl Fading {
    const HALF_LIFE: Duration = Duration::from_secs(60);

    fn at(&self, now: Tick) -> f64 {
        self.sum * 0.5_f64.powf(now.since(self.at).as_secs_f64() / Self::HALF_LIFE.as_secs_f64())
    }

    fn fade(&mut self, now: Tick) {
        *self = Self { sum: self.at(now), at: now };
    }

    fn add(&mut self, micros: u64, now: Tick) {
        self.fade(now);
        self.sum += micros as f64;
    }
}
