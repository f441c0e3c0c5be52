mod layout;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::counter::Stripes;

/// Records how often which size was seen. Cheap to clone; clones record into the same buckets.
#[derive(Clone, Default)]
pub struct Histogram(Arc<Cells>);

/// What a [`Histogram`] held when it was read: a copy that moves no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// The buckets that are not empty, by their number, rising.
    buckets: Vec<(usize, u64)>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

struct Cells {
    buckets: Box<[AtomicU64]>,
    sum: Stripes,
    min: AtomicU64,
    max: AtomicU64,
}

// ---- Histogram ----

impl Histogram {
    /// What one series takes, its sum and its bookkeeping not counted.
    pub const BYTES: usize = layout::BUCKETS * size_of::<AtomicU64>();

    /// Records one value, in the steps of the family's [`Scale`](crate::Scale).
    ///
    /// # Complexity
    ///
    /// Two atomic additions, and two more operations when the value is the smallest or the largest so far.
    #[inline]
    pub fn record(&self, value: u64) {
        let cells = &*self.0;
        cells.sum.add(value);
        // Almost no value is a new extreme, and a load costs less than an update.
        if value < cells.min.load(Ordering::Relaxed) {
            cells.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > cells.max.load(Ordering::Relaxed) {
            cells.max.fetch_max(value, Ordering::Relaxed);
        }
        // Release pairs with the Acquire in `read`: who sees the value counted sees the extremes that hold it.
        cells.buckets[layout::index(value)].fetch_add(1, Ordering::Release);
    }

    /// Records a time in nanoseconds. One of more than 584 years counts as 584 years.
    #[inline]
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Copies the figures out.
    ///
    /// # Complexity
    ///
    /// One load for each of the 3,776 buckets, about 2 µs.
    #[must_use]
    pub fn read(&self) -> Distribution {
        let mut buckets = Vec::new();
        let mut count = 0_u64;
        for (index, bucket) in self.0.buckets.iter().enumerate() {
            let here = bucket.load(Ordering::Acquire);
            if here > 0 {
                buckets.push((index, here));
                count = count.wrapping_add(here);
            }
        }
        if count == 0 {
            return Distribution::default();
        }
        let min = self.0.min.load(Ordering::Relaxed);
        let max = self.0.max.load(Ordering::Relaxed);
        Distribution { buckets, count, sum: self.0.sum.sum(), min, max }
    }
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            buckets: (0..layout::BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: Stripes::default(),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.read();
        f.debug_struct("Histogram")
            .field("count", &seen.count)
            .field("min", &seen.min())
            .field("p50", &seen.quantile(0.5))
            .field("max", &seen.max())
            .finish()
    }
}

// ---- Distribution ----

impl Distribution {
    /// Tells how many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Gives the sum of the values. Past the largest `u64` it starts again at zero; in nanoseconds that is 584
    /// years of work.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Gives the smallest value, exactly; `None` when nothing was recorded.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// Gives the largest value, exactly; `None` when nothing was recorded.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Gives the mean, exact as far as the sum is; `None` when nothing was recorded.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Gives the smallest recorded value that at least the share `q` of the values does not exceed, within
    /// 1/128 of itself; `None` when nothing was recorded or `q` is not between 0 and 1.
    ///
    /// 0.5 gives the median, 0.99 what one value in a hundred exceeds, 0 the smallest, 1 the largest.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the count"
        )]
        let rank = ((q * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut passed = 0;
        let bucket = self.buckets.iter().find(|(_, count)| {
            passed += count;
            passed >= rank
        });
        bucket.map(|(index, _)| layout::middle(*index).clamp(self.min, self.max))
    }

    /// Tells how many values are at most `bound`, where the bound takes effect within 1/128 of itself.
    #[must_use]
    pub fn at_most(&self, bound: u64) -> u64 {
        let below = self.buckets.iter().take_while(|(index, _)| layout::middle(*index) <= bound);
        below.map(|(_, count)| count).sum()
    }
}
