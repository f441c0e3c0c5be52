use std::fmt;
use std::time::Duration;

use aqueduct_core::Instant;

/// How long calls took recently, in fixed memory: a histogram of the half window that is under way and one of the half
/// before, each of 464 buckets, 16 to a doubling, from a microsecond to over an hour.
///
/// A percentile is never below that of the values themselves, and above it by 1/16 or two microseconds. Recording is O(1), reading
/// linear in the buckets.
#[derive(Clone, Debug)]
pub struct Latencies {
    /// The half that is under way, and the one before.
    halves: [Half; 2],
    half: Duration,
    began: Instant,
}

#[derive(Clone)]
struct Half {
    counts: [u32; BUCKETS],
    total: u64,
}

/// 16 of one microsecond, and 16 for each of the 28 doublings from there to 73 minutes.
const BUCKETS: usize = 16 * 29;
/// A unit is 1,024 ns, so that a shift divides.
const UNIT_BITS: u32 = 10;

impl Latencies {
    /// Nothing measured. What is older than a window is forgotten, by halves.
    #[must_use]
    pub fn new(window: Duration, now: Instant) -> Self {
        let empty = Half { counts: [0; BUCKETS], total: 0 };
        // A window of no time would never end.
        let half = (window / 2).max(Duration::from_nanos(1));
        Self { halves: [empty.clone(), empty], half, began: now }
    }

    /// Counts a latency.
    pub fn record(&mut self, now: Instant, latency: Duration) {
        self.roll(now);
        let [half, _] = &mut self.halves;
        if let Some(count) = half.counts.get_mut(bucket(latency)) {
            *count = count.saturating_add(1);
            half.total += 1;
        }
    }

    /// Gives how many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.halves.iter().map(|half| half.total).sum()
    }

    /// Gives the latency that a share of the calls, from 0 to 1, did not exceed; `None` when there are none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of calls within a window, times a share"
    )]
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let total = self.count();
        // Counted from the top, where the percentiles of interest are: so many calls may be slower.
        let mut slower =
            total - ((share.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1.min(total), total);
        let [one, other] = &self.halves;
        for (index, (one, other)) in one.counts.iter().zip(&other.counts).enumerate().rev() {
            let count = u64::from(*one) + u64::from(*other);
            if count > slower {
                return Some(upper_end(index));
            }
            slower -= count;
        }
        None
    }

    /// Gives the moment from which on nothing of what is there is recent any more.
    #[must_use]
    pub fn valid_until(&self) -> Instant {
        self.began.after(self.half * 2)
    }

    /// Forgets what is older than the window. A clock that goes back forgets nothing.
    fn roll(&mut self, now: Instant) {
        let since = now.since(self.began);
        if since < self.half {
            return;
        }
        self.halves.swap(0, 1);
        let [half, before] = &mut self.halves;
        half.clear();
        if since < self.half * 2 {
            self.began = self.began.after(self.half);
        } else {
            before.clear();
            self.began = now;
        }
    }
}

impl Half {
    fn clear(&mut self) {
        self.counts = [0; BUCKETS];
        self.total = 0;
    }
}

impl fmt::Debug for Half {
    /// Without the buckets, which fill a screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half").field("total", &self.total).finish_non_exhaustive()
    }
}

fn bucket(latency: Duration) -> usize {
    let units = u64::try_from(latency.as_nanos() >> UNIT_BITS).unwrap_or(u64::MAX);
    // Below 16 the value is its own bucket; above, the leading one and the four bits behind it are.
    let shift = (u64::BITS - units.leading_zeros()).saturating_sub(5);
    let index = u64::from(shift) * 16 + (units >> shift);
    usize::try_from(index).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let shift = (bucket / 16).saturating_sub(1);
    Duration::from_nanos((bucket - shift * 16 + 1) << shift << UNIT_BITS)
}
