use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::generator::Input;
use crate::oracle::Expected;

/// Items in one workload; with [`BATCH`] a hundred epochs, each of which commits.
pub(crate) const ITEMS: usize = 500;

/// Items in one batch and one epoch.
const BATCH: usize = 5;

/// The pipeline's name, which is the key of its ledger.
pub(crate) const PIPELINE: &str = "crash";

/// The table of results.
pub(crate) const TABLE: &str = "evidence";

/// The database besides the one with the ledger.
pub(crate) const SECOND: &str = "second.db";

/// Where the results of a workload go. Alerts go to a folder of JSON lines in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkKind {
    /// A SQLite table, with the ledger in the same database.
    Sqlite,
    /// A file of JSON lines, with the ledger in the data folder.
    Jsonl,
    /// Both, with the ledger beside the table.
    Both,
    /// Two SQLite tables in two databases, with the ledger in the first: the second is written before it, and a
    /// repeated epoch overwrites itself there by item id (decision 0001, R8).
    Second,
}

impl SinkKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Sqlite, Self::Jsonl, Self::Both, Self::Second];

    /// The name used on the command line and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Jsonl => "jsonl",
            Self::Both => "both",
            Self::Second => "second",
        }
    }

    pub(crate) fn has_table(self) -> bool {
        self != Self::Jsonl
    }

    pub(crate) fn has_file(self) -> bool {
        matches!(self, Self::Jsonl | Self::Both)
    }

    pub(crate) fn has_second_table(self) -> bool {
        self == Self::Second
    }

    /// How many sinks take every result.
    pub(crate) fn result_sinks(self) -> u64 {
        [self.has_table(), self.has_file(), self.has_second_table()].map(u64::from).iter().sum()
    }

    /// How many databases commit in each epoch.
    pub(crate) fn databases(self) -> u64 {
        1 + u64::from(self.has_second_table())
    }

    /// Tells whether an undisturbed run passes this fail point. One that does not, although this says so, is a
    /// fault of the campaign: nothing was proven there.
    pub(crate) fn passes(self, fail_point: &str) -> bool {
        fail_point != "second-store-after" || self.has_second_table()
    }

    /// Tells whether no other kind has this file.
    pub(crate) fn alone_has(self, file: &str) -> bool {
        self.has_second_table() && file.starts_with(SECOND)
    }
}

impl fmt::Display for SinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind of sink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of sqlite, jsonl, both, second")]
pub struct SinkKindError(String);

impl FromStr for SinkKind {
    type Err = SinkKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| SinkKindError(text.to_owned()))
    }
}

/// An input, a pipeline over it, and what must come of it.
#[derive(Clone, Debug)]
pub struct Workload {
    input: Vec<u8>,
    expected: Expected,
}

impl Workload {
    /// Makes the workload that belongs to a seed.
    #[must_use]
    pub fn new(seed: u64, sink: SinkKind) -> Self {
        let input = Input::generate(seed, ITEMS);
        Self { input: input.bytes(), expected: Expected::of(&input, sink) }
    }

    /// What must be there when the work is done.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Writes the input and the pipeline file into a folder, which is made.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("input.jsonl"), &self.input)?;
        fs::write(folder.join("pipeline.toml"), pipeline(self.expected.sink))
    }
}

/// Where the parts of a workload lie in its folder.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) ledger: PathBuf,
    pub(crate) second: PathBuf,
    pub(crate) results: PathBuf,
    pub(crate) alerts: PathBuf,
}

impl Places {
    pub(crate) fn of(folder: &Path, sink: SinkKind) -> Self {
        Self {
            ledger: folder.join(if sink.has_table() { "results.db" } else { "data/ledger.db" }),
            second: folder.join(SECOND),
            results: folder.join("results.jsonl"),
            alerts: folder.join("alerts"),
        }
    }
}

fn pipeline(sink: SinkKind) -> String {
    let mut text = format!(
        r#"name = "{PIPELINE}"
data_dir = "data"

[source]
type = "jsonl"
path = "input.jsonl"

[[stage]]
name = "score"
type = "map"
keep = ["id", "project", "passed"]
set = {{ score = "100.0 * (0.5 * double(item.passed) / double(item.passed + item.failed) + 0.3 * item.coverage)" }}
on_error = "dead-letter"

[[stage]]
name = "alert"
type = "alert"
when = "item.score < 50.0"
to = "alerts"

[run]
batch_size = {BATCH}
epoch_batches = 1
"#
    );
    if sink.has_table() {
        text.push_str(&format!(
            "\n[[sink]]\nname = \"results\"\ntype = \"sqlite\"\npath = \"results.db\"\ntable = \"{TABLE}\"\n"
        ));
    }
    if sink.has_second_table() {
        text.push_str(&format!(
            "\n[[sink]]\nname = \"second\"\ntype = \"sqlite\"\npath = \"{SECOND}\"\ntable = \"{TABLE}\"\n"
        ));
    }
    if sink.has_file() {
        text.push_str("\n[[sink]]\nname = \"lines\"\ntype = \"jsonl\"\npath = \"results.jsonl\"\n");
    }
    text.push_str("\n[[sink]]\nname = \"alerts\"\ntype = \"jsonl\"\npath = \"alerts\"\n");
    text
}

#[cfg(test)]
mod tests {
    use aqueduct_core::failpoint::POINTS;

    use super::SinkKind;

    #[test]
    fn every_fail_point_is_passed_by_some_workload() {
        for point in POINTS {
            assert!(SinkKind::ALL.iter().any(|kind| kind.passes(point)), "{point}");
        }
    }

    #[test]
    fn a_kinds_name_names_it() {
        for kind in SinkKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }
}
