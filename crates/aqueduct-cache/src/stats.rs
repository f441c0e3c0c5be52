/// What a cache has done since it was made, and what it holds. Always counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Looks that found what they were for.
    pub hits: u64,
    /// Looks that did not.
    pub misses: u64,
    /// Entries that were inserted, those that took the place of an older value among them.
    pub sets: u64,
    /// Entries that were removed on demand, by [`clear`](crate::Memory::clear) too.
    pub deletes: u64,
    /// Entries that left to make room.
    pub evictions: u64,
    /// Entries that left because their time was over.
    pub expirations: u64,
    /// Entries that were not kept: too heavy for their shard, or with no time at all.
    pub rejections: u64,
    /// Entries that are held; those among them that have expired and not left yet as well.
    pub entries: u64,
    /// Their weight.
    pub weight: u64,
    /// The greatest weight.
    pub capacity: u64,
}

impl Stats {
    /// Gives how often somebody looked.
    #[must_use]
    pub fn total_requests(&self) -> u64 {
        self.hits + self.misses
    }

    /// Gives how many of a hundred looks found something, to two decimals; nought before the first.
    #[must_use]
    pub fn hit_rate_percent(&self) -> f64 {
        hit_rate_percent(self.hits, self.total_requests())
    }

    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.sets += other.sets;
        self.deletes += other.deletes;
        self.evictions += other.evictions;
        self.expirations += other.expirations;
        self.rejections += other.rejections;
        self.entries += other.entries;
        self.weight += other.weight;
        self.capacity += other.capacity;
    }
}

/// How many of a hundred requests were hits, to two decimals.
pub(crate) fn hit_rate_percent(hits: u64, requests: u64) -> f64 {
    let (hits, requests) = (u128::from(hits), u128::from(requests));
    let hundredths = (hits * 20_000 + requests) / (requests * 2).max(1);
    u32::try_from(hundredths).map_or(0.0, |hundredths| f64::from(hundredths) / 100.0)
}
