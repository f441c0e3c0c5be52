use std::time::Duration;

use aqueduct_core::Random;

use super::script::Script;

/// What a script has in store for one call, before quota and outages have their say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// How long it takes.
    pub delay: Duration,
    /// Whether that is the slow tail.
    pub slow: bool,
    /// What comes back.
    pub reply: Reply,
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The route answers it.
    Served,
    /// It is answered with this status: 500, 502, 503 or 504.
    Failed(u16),
    /// It is never answered.
    Never,
}

/// The statuses that say: it went wrong here, try again.
const STATUSES: [u16; 4] = [500, 502, 503, 504];

impl Script {
    /// Gives the fate of a call by its number on a host, counted from 1. The same seed gives the same.
    ///
    /// Each thing is drawn by itself, so that a larger share of errors hits the same calls and some more, and leaves
    /// delays and hangs as they were.
    #[must_use]
    pub fn fate(&self, host: usize, call: u64) -> Fate {
        let mut random = Random::seeded(mixed(mixed(mixed(self.seed) ^ host as u64) ^ call));
        let hangs = random.unit() < self.hangs;
        let fails = random.unit() < self.errors(host);
        let status = usize::try_from(random.below(STATUSES.len() as u64)).unwrap_or(0);
        let chance = random.unit();
        let latency = self.latency(host);
        let tail = latency.tail.filter(|(share, _)| chance < *share);
        let reply = match STATUSES.get(status) {
            _ if hangs => Reply::Never,
            Some(status) if fails => Reply::Failed(*status),
            _ => Reply::Served,
        };
        Fate { delay: tail.map_or(latency.typical, |(_, delay)| delay), slow: tail.is_some(), reply }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014):
/// neighbouring calls get seeds that have nothing in common.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
