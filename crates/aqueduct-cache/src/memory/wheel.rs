use crate::memory::nodes::{Moved, NONE};

/// When entries expire: a timer wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987) of one
/// level, with lists through the entries themselves. What expires after this turn of the wheel waits in a list of its own,
/// and is looked at again when the next turn begins.
///
/// It takes no memory until an entry has a time, and then 24 bytes for each place, those of entries without one included. Setting a
/// time is O(1). Expiring is done in steps of O(1), so that nobody pays for a thousand others.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    timers: Vec<Timer>,
    /// The first entry of each slot, and of the two lists of what is far; empty until an entry has a time.
    heads: Vec<u32>,
    /// What has expired before this tick was given out.
    tick: u64,
    /// How many entries have a time.
    set: usize,
    /// How many of them expire in this turn.
    near: usize,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    /// In nanoseconds of the clock.
    at: u64,
    before: u32,
    after: u32,
    /// Its slot, or [`NONE`] where it is in none.
    slot: u32,
}

/// The time of what does not expire.
pub(crate) const NEVER: u64 = u64::MAX;

/// A tick is 2^30 ns, 1.07 s: how long something that has expired takes room at most where entries come in. Nobody gets it
/// meanwhile.
const TICK_BITS: u32 = 30;

/// A turn of 18 minutes, in 4 KiB.
const SLOTS: u64 = 1 << 10;

/// The most steps at a time; each takes some 10 ns.
const STEPS: usize = 128;

const NO_TIMER: Timer = Timer { at: NEVER, before: NONE, after: NONE, slot: NONE };

impl Wheel {
    pub(crate) fn expires_at(&self, at: u32) -> u64 {
        self.timers.get(at as usize).map_or(NEVER, |timer| timer.at)
    }

    /// Whether any entry has a time.
    pub(crate) fn is_used(&self) -> bool {
        self.set > 0
    }

    /// Sets when an entry expires, of a table with so many places, and forgets what was set before.
    pub(crate) fn set(&mut self, at: u32, places: usize, expires_at: u64, now: u64) {
        if self.heads.is_empty() {
            if expires_at == NEVER {
                return;
            }
            self.heads = vec![NONE; usize::try_from(SLOTS + 2).unwrap_or(0)];
        }
        if self.set == 0 {
            self.tick = now >> TICK_BITS;
        }
        self.timers.resize(places, NO_TIMER);
        self.unlink(at);
        self.timers[at as usize].at = expires_at;
        self.link(at);
    }

    /// An entry is taken out.
    pub(crate) fn removed(&mut self, at: u32) {
        if (at as usize) < self.timers.len() {
            self.unlink(at);
            self.timers[at as usize] = NO_TIMER;
        }
    }

    /// Entries have other places now.
    pub(crate) fn moved(&mut self, moved: &Moved) {
        if self.timers.is_empty() {
            return;
        }
        self.timers = moved.table(&self.timers, NO_TIMER);
        for timer in &mut self.timers {
            (timer.before, timer.after) = (moved.to(timer.before), moved.to(timer.after));
        }
        for head in &mut self.heads {
            *head = moved.to(*head);
        }
    }

    /// Gives an entry that has expired, or nothing where there is none or it is not known yet. It is to be taken out before
    /// this is asked again.
    pub(crate) fn expired(&mut self, now: u64) -> Option<u32> {
        let until = now >> TICK_BITS;
        for _ in 0..STEPS {
            if self.set == 0 {
                return None;
            }
            // What was far when the last turn began.
            let waiting = self.heads[far(self.tick + SLOTS)];
            if waiting != NONE {
                self.unlink(waiting);
                self.link(waiting);
                continue;
            }
            if self.tick >= until {
                return None;
            }
            let due = self.heads[near(self.tick)];
            if due != NONE {
                return Some(due);
            }
            let next_turn = (self.tick / SLOTS + 1) * SLOTS;
            self.tick = if self.near == 0 { next_turn.min(until) } else { self.tick + 1 };
        }
        None
    }

    /// Whether there is more to expire than was given out.
    pub(crate) fn is_behind(&self, now: u64) -> bool {
        self.set > 0 && self.tick < now >> TICK_BITS
    }

    fn link(&mut self, at: u32) {
        let nanos = self.timers[at as usize].at;
        if nanos == NEVER {
            return;
        }
        let tick = (nanos >> TICK_BITS).max(self.tick);
        let is_near = tick / SLOTS == self.tick / SLOTS;
        let slot = if is_near { near(tick) } else { far(self.tick) };
        let head = std::mem::replace(&mut self.heads[slot], at);
        let timer = &mut self.timers[at as usize];
        (timer.before, timer.after, timer.slot) = (NONE, head, u32::try_from(slot).unwrap_or(NONE));
        if head != NONE {
            self.timers[head as usize].before = at;
        }
        self.set += 1;
        self.near += usize::from(is_near);
    }

    fn unlink(&mut self, at: u32) {
        let Timer { before, after, slot, .. } = self.timers[at as usize];
        if slot == NONE {
            return;
        }
        match before {
            NONE => self.heads[slot as usize] = after,
            before => self.timers[before as usize].after = after,
        }
        if after != NONE {
            self.timers[after as usize].before = before;
        }
        self.timers[at as usize].slot = NONE;
        self.set -= 1;
        self.near -= usize::from(u64::from(slot) < SLOTS);
    }
}

/// The slot of a tick of this turn.
fn near(tick: u64) -> usize {
    usize::try_from(tick % SLOTS).unwrap_or(0)
}

/// The list that holds what is far, in the turn of a tick: two take turns, so that one can be emptied into the other.
fn far(tick: u64) -> usize {
    usize::try_from(SLOTS + tick / SLOTS % 2).unwrap_or(0)
}
