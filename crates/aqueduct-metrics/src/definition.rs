use std::fmt;

use crate::RegisterError;

/// What a family is called, what it tells, and by what it is told apart.
///
/// A crate writes its definitions as constants in one file, which is then the list of its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Letters, digits and `_`, not starting with a digit. A counter ends in `_total` and nothing else does;
    /// `_bucket`, `_sum` and `_count` are the endings of what a histogram writes.
    pub name: &'static str,
    /// One sentence for a person who sees the metric for the first time.
    pub help: &'static str,
    /// The names of the labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
}

/// How a histogram is written: what one recorded step is, and at which values the text cuts.
///
/// It changes the text only; quantiles always come from the fine buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// How many recorded steps make one written unit; 1,000,000,000 for nanoseconds written as seconds.
    pub steps_per_unit: u64,
    /// The upper bounds of the written buckets, in recorded steps, rising. The last bucket, which takes
    /// everything, is added by itself. A bound takes effect within 1/128 of its value.
    pub bounds: &'static [u64],
}

/// What the figures of a family mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which size was seen.
    Histogram,
}

// ---- Definition ----

impl Definition {
    pub(crate) fn check(&self, kind: Kind) -> Result<(), RegisterError> {
        let wrong = |allowed| Err(RegisterError::Name { name: self.name, allowed });
        if !is_name(self.name) {
            return wrong("letters, digits and _, not starting with a digit");
        }
        if ["_bucket", "_sum", "_count"].iter().any(|ending| self.name.ends_with(ending)) {
            return wrong("_bucket, _sum and _count are written by histograms");
        }
        match (kind, self.name.ends_with("_total")) {
            (Kind::Counter, false) => return wrong("a counter ends in _total"),
            (Kind::Gauge | Kind::Histogram, true) => return wrong("only a counter ends in _total"),
            _ => {}
        }
        for (number, &label) in self.labels.iter().enumerate() {
            let wrong = |allowed| Err(RegisterError::Label { metric: self.name, label, allowed });
            if !is_name(label) {
                return wrong("letters, digits and _, not starting with a digit");
            }
            if label.starts_with("__") {
                return wrong("two underscores are for Prometheus itself");
            }
            if label == "le" && kind == Kind::Histogram {
                return wrong("le is the bound of a bucket");
            }
            if self.labels[..number].contains(&label) {
                return wrong("each label has a name of its own");
            }
        }
        Ok(())
    }
}

/// The text format also allows `:`, and keeps it for names that a recording rule makes.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

// ---- Scale ----

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

impl Scale {
    /// Nanoseconds, written as seconds.
    ///
    /// From 5 ms to 10 s the bounds are those that OpenTelemetry advises for `http.server.request.duration`;
    /// those below are for work that stays inside the process.
    pub const SECONDS: Self = Self {
        steps_per_unit: SECOND,
        bounds: &[
            10 * MICROSECOND,
            100 * MICROSECOND,
            MILLISECOND,
            5 * MILLISECOND,
            10 * MILLISECOND,
            25 * MILLISECOND,
            50 * MILLISECOND,
            75 * MILLISECOND,
            100 * MILLISECOND,
            250 * MILLISECOND,
            500 * MILLISECOND,
            750 * MILLISECOND,
            SECOND,
            2_500 * MILLISECOND,
            5 * SECOND,
            7_500 * MILLISECOND,
            10 * SECOND,
        ],
    };

    /// Bytes, from a short record to the largest thing that anybody should hold in memory, by fours.
    pub const BYTES: Self = Self {
        steps_per_unit: 1,
        bounds: &[
            1 << 8,
            1 << 10,
            1 << 12,
            1 << 14,
            1 << 16,
            1 << 18,
            1 << 20,
            1 << 22,
            1 << 24,
            1 << 26,
            1 << 28,
            1 << 30,
        ],
    };

    /// Numbers of things, from one to 100,000.
    pub const COUNT: Self = Self {
        steps_per_unit: 1,
        bounds: &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000],
    };

    pub(crate) fn check(&self, metric: &'static str) -> Result<(), RegisterError> {
        if self.steps_per_unit == 0 {
            return Err(RegisterError::Scale {
                metric,
                field: "steps_per_unit",
                value: "0".to_owned(),
                allowed: "1 or more",
            });
        }
        if self.bounds.is_empty() || !self.bounds.is_sorted_by(|left, right| left < right) {
            return Err(RegisterError::Scale {
                metric,
                field: "bounds",
                value: format!("{:?}", self.bounds),
                allowed: "at least one bound, each larger than the one before",
            });
        }
        Ok(())
    }
}

// ---- Kind ----

impl Kind {
    /// Gives the name that the text format has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
