use std::collections::BTreeMap;
use std::fmt;

use crate::workload::Kind;

/// What must be there when the work is done, whatever happened in between.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Of which kind of workload.
    pub kind: Kind,
    /// What each sink must hold.
    pub sinks: Vec<Holding>,
    /// The dead letters, in the order of the input.
    pub letters: Vec<Letter>,
    /// What the ledger must have counted.
    pub counts: Counts,
    /// Each file of the input, and how many bytes of its content were read.
    pub positions: Vec<(String, u64)>,
}

impl Expected {
    /// The database of the ledger, relative to the workload's folder: that of the first table, or one of its own.
    pub(crate) fn ledger(&self) -> &'static str {
        self.tables().next().map_or("data/ledger.db", |(database, _)| database)
    }

    /// Databases with the tables that they hold; each has one.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&'static str, &Holding)> {
        self.sinks.iter().filter_map(|holding| match holding.form {
            Form::Table => Some((holding.place, holding)),
            Form::Lines | Form::Rows => None,
        })
    }
}

/// What one sink must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// The sink's name in the pipeline file.
    pub sink: &'static str,
    /// How results are written.
    pub form: Form,
    /// The database, file or folder, relative to the workload's folder.
    pub place: &'static str,
    /// The fields of every entry and what they are. The first is the entry's own name.
    pub fields: &'static [(&'static str, Type)],
    /// The entries, in their order.
    pub entries: Vec<Entry>,
}

impl Holding {
    /// Tells whether the place is a folder of parts.
    pub(crate) fn is_folder(&self) -> bool {
        self.form != Form::Table && !self.place.contains('.')
    }
}

/// How a sink writes results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Rows of a SQLite table.
    Table,
    /// Lines of JSON.
    Lines,
    /// Rows of comma-separated values.
    Rows,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// A number, compared bit by bit.
    Number,
    /// A time in the form `2026-11-20T23:51:49.000Z`; which one, nobody knows.
    Time,
}

/// One result: the values of its fields, the first of them its name, which no other result of the sink has.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry(pub Vec<Value>);

impl Entry {
    /// The entry's name.
    pub(crate) fn name(&self) -> String {
        match self.0.first() {
            Some(Value::Text(name)) => name.clone(),
            other => format!("{other:?}"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            write!(f, "{}{value:?}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// The value of a field.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Some time.
    Time,
    /// What was found and is none of these.
    Other(String),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) | (Self::Other(one), Self::Other(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Number(one), Self::Number(other)) => one.to_bits() == other.to_bits(),
            (Self::Time, Self::Time) => true,
            _ => false,
        }
    }
}

/// A dead letter that must be there once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The field `id` of the item that failed; none for input that never became one.
    pub id: Option<String>,
    /// The line that it came from.
    pub original: String,
    /// Where it failed.
    pub stage: &'static str,
}

/// What the ledger must have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    read: u64,
    spawned: u64,
    delivered: u64,
    dead_lettered: u64,
    skipped: u64,
}

impl Counts {
    /// Adds an item that was read, by what became of it: at least one thing. It or a child of it each was
    /// delivered to a sink, failed, or was skipped.
    pub(crate) fn item(&mut self, became: Became) {
        self.read += 1;
        self.spawned += became.delivered + became.failed + became.skipped - 1;
        self.delivered += became.delivered;
        self.dead_lettered += became.failed;
        self.skipped += became.skipped;
    }

    /// Every column of the ledger, by its name.
    pub(crate) fn columns(self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("read", self.read),
            ("spawned", self.spawned),
            ("delivered", self.delivered),
            ("dead_lettered", self.dead_lettered),
            ("skipped", self.skipped),
            ("absorbed", 0),
            ("dropped", 0),
            ("abandoned", 0),
            ("in_flight", 0),
        ])
    }
}

/// What became of one item.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Became {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Became {
    pub(crate) const FAILED: Self = Self { delivered: 0, failed: 1, skipped: 0 };
    pub(crate) const SKIPPED: Self = Self { delivered: 0, failed: 0, skipped: 1 };

    pub(crate) fn delivered(times: u64) -> Self {
        Self { delivered: times, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use crate::workload::{Kind, Workload};

    #[test]
    fn the_expected_counts_balance() {
        for kind in Kind::ALL {
            let workload = Workload::new(1, kind);
            let counts = workload.expected().counts.columns();
            let sum = |names: &[&str]| names.iter().map(|name| counts[name]).sum::<u64>();
            let ends = ["delivered", "dead_lettered", "skipped"];
            assert_eq!(sum(&["read", "spawned"]), sum(&ends), "{kind}");
            let held: usize = workload.expected().sinks.iter().map(|sink| sink.entries.len()).sum();
            assert_eq!(counts["delivered"], held as u64, "{kind}");
            assert_eq!(counts["dead_lettered"], workload.expected().letters.len() as u64, "{kind}");
        }
    }

    #[test]
    fn every_sink_takes_some_items_and_some_items_fail() {
        for kind in Kind::ALL {
            let workload = Workload::new(1, kind);
            for sink in &workload.expected().sinks {
                assert!(sink.entries.len() >= 50, "{kind}: {} has {}", sink.sink, sink.entries.len());
            }
            assert!(workload.expected().letters.len() >= 20, "{kind}");
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        for kind in Kind::ALL {
            let workload = Workload::new(1, kind);
            for sink in &workload.expected().sinks {
                let names: std::collections::HashSet<_> =
                    sink.entries.iter().map(super::Entry::name).collect();
                assert_eq!(names.len(), sink.entries.len(), "{kind}: {}", sink.sink);
            }
        }
    }
}
