use std::time::Duration;

use aqueduct_stream::ProgressSnapshot;

/// How fast a batch goes, and how long the rest takes if it goes on like that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Items a second; 0 before any time has passed.
    pub items_per_second: f64,
    /// The share of the work that is done, from 0 to 1, where it is known how much there is.
    pub done_share: Option<f64>,
    /// How long the rest takes at this pace; `None` while nobody can say.
    pub left: Option<Duration>,
}

impl Pace {
    /// The pace of a run that has been going for so long, by the bytes of its input.
    #[must_use]
    pub fn of(now: &ProgressSnapshot, elapsed: Duration) -> Self {
        let total = (now.total_bytes > 0).then_some(now.total_bytes);
        Self::new(now.read, elapsed, now.read_bytes, total)
    }

    /// The pace of so many items in so much time, when `done` of `total` is done. The two have one unit, whatever it is,
    /// and what is done was done in that time.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn new(items: u64, elapsed: Duration, done: u64, total: Option<u64>) -> Self {
        let seconds = elapsed.as_secs_f64();
        let items_per_second = if seconds > 0.0 { items as f64 / seconds } else { 0.0 };
        let done_share = total.filter(|total| *total > 0).map(|total| (done as f64 / total as f64).min(1.0));
        let left = done_share.filter(|share| *share > 0.0).map(|share| seconds * (1.0 - share) / share);
        Self {
            items_per_second,
            done_share,
            left: left.and_then(|left| Duration::try_from_secs_f64(left).ok()),
        }
    }
}
