mod files;
mod ledger;
mod rows;
mod tally;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::oracle::{Expected, Scored};
use crate::workload::{Places, SECOND};

/// What kind of broken promise was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Something that must be there is not.
    Lost,
    /// Something is there more than once.
    Doubled,
    /// Something is there that must not be, or not as it must be; or the run does not come to its end.
    Wrong,
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub fault: Fault,
    /// Where it was found: a sink, the dead letters, the ledger, the run.
    pub place: String,
    /// What was found.
    pub what: String,
}

impl Finding {
    pub(crate) fn wrong(place: &str, what: impl Into<String>) -> Self {
        Self { fault: Fault::Wrong, place: place.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Lost => "lost",
            Fault::Doubled => "doubled",
            Fault::Wrong => "wrong",
        };
        write!(f, "{fault} in {}: {}", self.place, self.what)
    }
}

/// Compares what lies in a workload's folder with what must lie there, by reading files and SQLite tables.
///
/// Run it when the pipeline says that it is done. An empty answer means that every promise is kept.
pub async fn check(folder: &Path, expected: &Expected) -> Vec<Finding> {
    let places = Places::of(folder, expected.sink);
    let mut findings = Vec::new();
    match open(&places.ledger).await {
        Ok(mut ledger) => {
            findings.extend(ledger::check(&mut ledger, expected).await);
            findings.extend(files::check_marks(&mut ledger, &places, expected.sink).await);
            if expected.sink.has_table() {
                findings.extend(rows::check("results.db", &mut ledger, expected).await);
            }
            if expected.sink.has_second_table() {
                match open(&places.second).await {
                    Ok(mut second) => {
                        findings.extend(ledger::check_integrity(SECOND, &mut second).await);
                        findings.extend(rows::check(SECOND, &mut second, expected).await);
                        findings.extend(rows::check_same_ids(&mut ledger, SECOND, &mut second).await);
                    }
                    Err(error) => {
                        findings.push(Finding::wrong(SECOND, format!("it cannot be opened: {error}")))
                    }
                }
            }
        }
        Err(error) => findings.push(Finding::wrong("the ledger", format!("it cannot be opened: {error}"))),
    }
    if expected.sink.has_file() {
        findings.extend(files::check_results(&places.results, expected));
    }
    findings.extend(files::check_alerts(&places.alerts, expected));
    findings
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).read_only(true).connect().await
}

/// A result as far as it is compared. A double is compared bit by bit.
#[derive(Clone, Debug, PartialEq)]
struct Values {
    project: Option<String>,
    passed: Option<i64>,
    score_bits: Option<u64>,
}

impl Values {
    fn new(project: Option<&str>, passed: Option<i64>, score: Option<f64>) -> Self {
        Self { project: project.map(str::to_owned), passed, score_bits: score.map(f64::to_bits) }
    }

    fn of(item: &Scored) -> Self {
        Self::new(Some(&item.project), Some(item.passed.into()), Some(item.score))
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let score = self.score_bits.map(f64::from_bits);
        write!(f, "project {:?}, passed {:?}, score {score:?}", self.project, self.passed)
    }
}

/// The results that every sink must hold, by id.
fn results(expected: &Expected) -> Vec<(String, Values)> {
    expected.scored.iter().map(|item| (item.id.clone(), Values::of(item))).collect()
}
