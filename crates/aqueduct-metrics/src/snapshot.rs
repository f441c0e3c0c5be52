use crate::{Definition, Distribution, Kind, Scale};

/// The figures of every family of a registry, copied out one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The families, sorted by name.
    pub families: Vec<FamilySnapshot>,
}

/// One family of a [`Snapshot`].
#[derive(Clone, Debug, PartialEq)]
pub struct FamilySnapshot {
    /// What it was registered with.
    pub definition: Definition,
    /// What its figures mean.
    pub kind: Kind,
    /// How a histogram is written; counters and gauges have none.
    pub scale: Option<Scale>,
    /// The series, sorted by their label values, the overflow series last.
    pub series: Vec<SeriesSnapshot>,
}

/// One series of a [`FamilySnapshot`].
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSnapshot {
    /// The values of the family's labels, in their order.
    pub values: Box<[Box<str>]>,
    /// The figure.
    pub value: Value,
}

/// The figure of one series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a [`Counter`](crate::Counter).
    Counter(u64),
    /// Of a [`Gauge`](crate::Gauge).
    Gauge(f64),
    /// Of a [`Histogram`](crate::Histogram).
    Histogram(Distribution),
}
