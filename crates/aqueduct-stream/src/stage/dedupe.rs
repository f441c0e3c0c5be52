use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use aqueduct_core::{Item, Timestamp};
use sha2::{Digest as _, Sha256};

use super::{OrderedStage, Outcome};
use crate::error::{StageError, StateError};

/// How far back a [`Dedupe`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// So many items that came to the stage, the item itself not counted. At most 2^31.
    Items(u64),
    /// So long, in whole seconds, by the clock of the run. At most 2^31 seconds.
    Time(Duration),
}

impl Horizon {
    /// The largest number of items or seconds.
    pub const MAX: u64 = 1 << 31;

    fn reach(self) -> u64 {
        match self {
            Self::Items(items) => items.clamp(1, Self::MAX),
            Self::Time(time) => time.as_secs().clamp(1, Self::MAX),
        }
    }
}

/// Lets the first item of each key pass and skips those that follow within the horizon.
///
/// The horizon of a key begins with the item that passed; items that were skipped do not prolong it. Which items
/// pass depends on their order alone (with [`Horizon::Items`]), so a run that was killed decides as if it had not
/// been.
///
/// Keys are remembered as the first 96 bits of their SHA-256: with 10 million keys in the horizon the chance that
/// any two are taken for one is 1 in 10^15, and nobody can make two keys collide with less than 2^48 hashes. A key
/// takes 17 bytes of memory in a table that is at most 7/8 full, and 13 bytes in the ledger.
pub struct Dedupe<K> {
    key: K,
    schema: String,
    horizon: Horizon,
    /// Items that came, or the newest second.
    now: u64,
    shards: Vec<Shard>,
    /// The measure at which the next shard is swept.
    sweep_at: u64,
    swept: usize,
    bytes: Vec<u8>,
}

/// The first 96 bits of a key's SHA-256.
type Digest = [u32; 3];

/// The lower half of the measure at which each key was seen. The horizon is shorter than half of what 32 bits count,
/// and keys behind it are swept, so the upper half is not missed.
type Shard = HashMap<Digest, u32, BuildHasherDefault<Ready>>;

/// So many tables, so that growing one of them moves a small share of the keys.
const SHARDS: usize = 64;

/// An item that was skipped: it only counts.
const SEEN: u8 = 0;
/// A key that was new: 12 bytes of digest follow.
const NEW: u8 = 1;
/// The time has moved on: 8 bytes follow, seconds, little endian.
const TIME: u8 = 2;

impl<K> Dedupe<K>
where
    K: Fn(&Item, &mut Vec<u8>) -> Result<(), StageError> + Send,
{
    /// Remembers the keys that `key` writes for items. `meaning` is what the key is, in words: with other words the
    /// keys of earlier runs are not compared with new ones.
    #[must_use]
    pub fn new(horizon: Horizon, meaning: &str, key: K) -> Self {
        let measure = match horizon {
            Horizon::Items(_) => "items",
            Horizon::Time(_) => "seconds",
        };
        Self {
            key,
            // A longer or shorter horizon reads the same notes.
            schema: format!("dedupe 1 in {measure} by {meaning}"),
            horizon,
            now: 0,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            sweep_at: 0,
            swept: 0,
            bytes: Vec::new(),
        }
    }

    /// Remembers a key, unless it is remembered already.
    fn is_new(&mut self, digest: Digest) -> bool {
        let (now, reach) = (low(self.now), self.horizon.reach());
        let seen = self.shards[shard_of(&digest)].entry(digest);
        match seen {
            std::collections::hash_map::Entry::Occupied(seen)
                if u64::from(now.wrapping_sub(*seen.get())) <= reach =>
            {
                false
            }
            // Its horizon is over, and a new one begins.
            std::collections::hash_map::Entry::Occupied(mut seen) => {
                seen.insert(now);
                true
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(now);
                true
            }
        }
    }

    /// Forgets keys behind the horizon, one shard at a time: all of them within a quarter of the horizon.
    fn sweep(&mut self) {
        let reach = self.horizon.reach();
        let step = (reach / (4 * SHARDS as u64)).max(1);
        if self.now < self.sweep_at {
            return;
        }
        // A long pause is caught up with one pass.
        let due = ((self.now - self.sweep_at) / step + 1).min(SHARDS as u64);
        for _ in 0..due {
            let now = low(self.now);
            let shard = &mut self.shards[self.swept];
            shard.retain(|_, seen| u64::from(now.wrapping_sub(*seen)) <= reach);
            if shard.capacity() > 4 * shard.len().max(64) {
                shard.shrink_to(2 * shard.len());
            }
            self.swept = (self.swept + 1) % SHARDS;
        }
        self.sweep_at = self.now + step;
    }

    fn digest(&mut self, item: &Item) -> Result<[u8; 12], StageError> {
        self.bytes.clear();
        (self.key)(item, &mut self.bytes)?;
        let hash = Sha256::digest(&self.bytes);
        let mut digest = [0; 12];
        digest.copy_from_slice(&hash[..12]);
        Ok(digest)
    }
}

impl<K> OrderedStage for Dedupe<K>
where
    K: Fn(&Item, &mut Vec<u8>) -> Result<(), StageError> + Send,
{
    fn apply(&mut self, item: &Item, now: Timestamp, log: &mut Vec<u8>) -> Result<Outcome, StageError> {
        let digest = self.digest(item)?;
        match self.horizon {
            Horizon::Items(_) => self.now += 1,
            Horizon::Time(_) => {
                // A clock that goes back stands still here.
                let seconds = u64::try_from(now.0 / 1000).unwrap_or(0);
                if seconds > self.now {
                    self.now = seconds;
                    log.push(TIME);
                    log.extend_from_slice(&seconds.to_le_bytes());
                }
            }
        }
        self.sweep();
        if self.is_new(words(digest)) {
            log.push(NEW);
            log.extend_from_slice(&digest);
            return Ok(Outcome::Keep);
        }
        if matches!(self.horizon, Horizon::Items(_)) {
            log.push(SEEN);
        }
        Ok(Outcome::Skip("its key was seen before".into()))
    }

    fn restore(&mut self, notes: &[u8]) -> Result<(), StateError> {
        let broken = || StateError::new("its notes end in the middle or begin with an unknown sign");
        let mut rest = notes;
        while let Some((kind, after)) = rest.split_first() {
            rest = match *kind {
                SEEN => {
                    self.now += 1;
                    after
                }
                NEW => {
                    let (digest, after) = after.split_first_chunk::<12>().ok_or_else(broken)?;
                    if matches!(self.horizon, Horizon::Items(_)) {
                        self.now += 1;
                    }
                    let digest = words(*digest);
                    let now = low(self.now);
                    self.shards[shard_of(&digest)].insert(digest, now);
                    after
                }
                TIME => {
                    let (seconds, after) = after.split_first_chunk::<8>().ok_or_else(broken)?;
                    self.now = u64::from_le_bytes(*seconds);
                    after
                }
                _ => return Err(broken()),
            };
            self.sweep();
        }
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.now
    }

    fn needed(&self) -> u64 {
        self.now.saturating_sub(self.horizon.reach() + 1)
    }

    fn schema(&self) -> String {
        self.schema.clone()
    }
}

impl<K> fmt::Debug for Dedupe<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.shards.iter().map(HashMap::len).sum();
        f.debug_struct("Dedupe")
            .field("schema", &self.schema)
            .field("horizon", &self.horizon)
            .field("now", &self.now)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

fn words(digest: [u8; 12]) -> Digest {
    let word = |at: usize| u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
    [word(0), word(4), word(8)]
}

fn shard_of(digest: &Digest) -> usize {
    digest[2] as usize % SHARDS
}

/// The lower half of a measure.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is cut off on purpose")]
fn low(measure: u64) -> u32 {
    measure as u32
}

/// A digest is a hash already: its first 64 bits are taken as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An array of words comes as its bytes; the first eight are as good as all.
        let mut first = [0; 8];
        let length = bytes.len().min(8);
        first[..length].copy_from_slice(&bytes[..length]);
        self.0 = u64::from_le_bytes(first);
    }

    fn write_usize(&mut self, _length: usize) {}
}
