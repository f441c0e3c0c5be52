mod csv;
mod dedupe;
mod evidence;
mod rollback;
mod route;
mod split;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::oracle::Expected;

/// Items in one workload; with [`BATCH`] a hundred epochs, each of which commits.
const ITEMS: usize = 500;

/// Items in one batch and one epoch.
const BATCH: usize = 5;

/// The pipeline's name, which is the key of its ledger.
pub(crate) const PIPELINE: &str = "crash";

/// The pipeline file.
const FILE: &str = "pipeline.toml";

/// The table of results.
pub(crate) const TABLE: &str = "evidence";

/// The database besides the one with the ledger.
pub(crate) const SECOND: &str = "second.db";

/// The file of queues.
pub(crate) const QUEUES: &str = "queues.redb";

/// What a workload does. Some items are set aside in every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// To a SQLite table, with the ledger in the same database.
    Sqlite,
    /// To a file of JSON lines, with the ledger in the data folder.
    Jsonl,
    /// To both, with the ledger beside the table.
    Both,
    /// To two SQLite tables in two databases, with the ledger in the first: the second is written before it, and a
    /// repeated epoch overwrites itself there by item id (decision 0001, R8).
    Second,
    /// From comma-separated files, one of them compressed, to such a file and a folder of them.
    Csv,
    /// To branches and sinks by conditions, in copies.
    Route,
    /// Without the items whose key was seen before.
    Dedupe,
    /// An item of each element of a list.
    Split,
    /// What [`Kind::Split`] set aside comes back, after its pipeline was mended. The replay is what is struck.
    Replay,
    /// From a queue that another pipeline has filled.
    Queue,
    /// Back to a checkpoint, and on from there with a mended pipeline. That run is what is struck.
    Rollback,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Sqlite,
        Self::Jsonl,
        Self::Both,
        Self::Second,
        Self::Csv,
        Self::Route,
        Self::Dedupe,
        Self::Split,
        Self::Replay,
        Self::Queue,
        Self::Rollback,
    ];

    /// The name used on the command line and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Jsonl => "jsonl",
            Self::Both => "both",
            Self::Second => "second",
            Self::Csv => "csv",
            Self::Route => "route",
            Self::Dedupe => "dedupe",
            Self::Split => "split",
            Self::Replay => "replay",
            Self::Queue => "queue",
            Self::Rollback => "rollback",
        }
    }

    /// About how many commits the run that is struck makes, over all of its databases.
    pub(crate) fn commits(self) -> u64 {
        match self {
            Self::Second => 200,
            Self::Replay | Self::Rollback => 60,
            _ => 100,
        }
    }

    /// Tells whether an undisturbed run passes this fail point. One that does not, although this says so, is a
    /// fault of the campaign: nothing was proven there.
    pub(crate) fn passes(self, fail_point: &str) -> bool {
        match fail_point {
            "second-store-after" => self == Self::Second,
            "acknowledge-before" => self == Self::Queue,
            _ => true,
        }
    }

    /// Tells whether no other kind has this file.
    pub(crate) fn alone_has(self, file: &str) -> bool {
        match self {
            Self::Second => file.starts_with(SECOND),
            Self::Queue => file.starts_with(QUEUES),
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind of workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of {known}", known = Kind::ALL.map(Kind::as_str).join(", "))]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| KindError(text.to_owned()))
    }
}

/// An input, a pipeline over it, and what must come of it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The input: files with their content.
    input: BTreeMap<&'static str, Vec<u8>>,
    /// The pipeline file of a run that comes before the one that is struck, and is never struck itself.
    before: Option<String>,
    pipeline: String,
    /// What the binary is called with, the pipeline file included, until the work is done.
    pub(crate) command: &'static [&'static str],
    expected: Expected,
}

/// What the binary is called with in most workloads.
pub(crate) const RUN: &[&str] = &["run", FILE];

impl Workload {
    /// Makes the workload that belongs to a seed.
    #[must_use]
    pub fn new(seed: u64, kind: Kind) -> Self {
        Self::of(seed, kind, ITEMS)
    }

    /// The same with another number of items.
    pub(crate) fn of(seed: u64, kind: Kind, items: usize) -> Self {
        match kind {
            Kind::Sqlite | Kind::Jsonl | Kind::Both | Kind::Second => evidence::workload(seed, kind, items),
            Kind::Queue => evidence::from_a_queue(seed, items),
            Kind::Csv => csv::workload(seed, items),
            Kind::Route => route::workload(seed, items),
            Kind::Dedupe => dedupe::workload(seed, items),
            Kind::Split | Kind::Replay => split::workload(seed, kind, items),
            Kind::Rollback => rollback::workload(seed, items),
        }
    }

    /// What must be there when the work is done.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Writes the input into a folder, which is made, and the pipeline file of the first run: the one that is
    /// struck, unless another comes before it.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (name, content) in &self.input {
            let path = folder.join(name);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, content)?;
        }
        fs::write(folder.join(FILE), self.before.as_ref().unwrap_or(&self.pipeline))
    }

    /// Tells whether a run has to come to its end before the one that is struck.
    pub(crate) fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Writes the pipeline file of the run that is struck.
    pub(crate) fn mend(&self, folder: &Path) -> io::Result<()> {
        fs::write(folder.join(FILE), &self.pipeline)
    }
}

/// A pipeline file of these parts. Checkpoints are kept for ever, so that one can be gone back to repeatedly.
fn pipeline(source: &str, parts: &str) -> String {
    format!(
        r#"name = "{PIPELINE}"
data_dir = "data"

[source]
{source}
{parts}
[run]
batch_size = {BATCH}
epoch_batches = 1

[retention]
checkpoints = 1000
"#
    )
}

/// The source of one file of JSON lines.
const SOURCE: &str = "type = \"jsonl\"\npath = \"input.jsonl\"\n";

/// The name of that file.
const INPUT: &str = "input.jsonl";

#[cfg(test)]
mod tests {
    use aqueduct_core::failpoint::POINTS;

    use super::{Kind, Workload};

    #[test]
    fn every_fail_point_is_passed_by_some_workload() {
        for point in POINTS {
            assert!(Kind::ALL.iter().any(|kind| kind.passes(point)), "{point}");
        }
    }

    #[test]
    fn a_kinds_name_names_it() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_workload() {
        for kind in Kind::ALL {
            let workload = |seed| Workload::new(seed, kind);
            assert_eq!(workload(3).input, workload(3).input, "{kind}");
            assert_ne!(workload(3).input, workload(4).input, "{kind}");
            assert_eq!(workload(3).expected, workload(3).expected, "{kind}");
        }
    }
}
