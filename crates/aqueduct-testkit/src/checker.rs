mod csv;
mod files;
mod ledger;
mod marks;
mod rows;
mod tally;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use self::tally::tally;
use crate::oracle::{Entry, Expected, Form, Holding};

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
    let mut findings = Vec::new();
    match open(&folder.join(expected.ledger())).await {
        Ok(mut ledger) => {
            findings.extend(ledger::check(&mut ledger, expected).await);
            findings.extend(marks::check(&mut ledger, folder, expected).await);
            findings.extend(check_tables(&mut ledger, folder, expected).await);
        }
        Err(error) => findings.push(Finding::wrong("the ledger", format!("it cannot be opened: {error}"))),
    }
    for holding in expected.sinks.iter().filter(|holding| holding.form != Form::Table) {
        findings.extend(files::check(folder, holding));
    }
    findings
}

/// The first table is in the ledger's database, and any other one in a database of its own.
async fn check_tables(ledger: &mut SqliteConnection, folder: &Path, expected: &Expected) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, (place, holding)) in expected.tables().enumerate() {
        if number == 0 {
            findings.extend(rows::check(place, ledger, holding).await);
            continue;
        }
        match open(&folder.join(place)).await {
            Ok(mut database) => {
                findings.extend(ledger::check_integrity(place, &mut database).await);
                findings.extend(rows::check(place, &mut database, holding).await);
                findings.extend(rows::check_same_ids(ledger, place, &mut database).await);
            }
            Err(error) => findings.push(Finding::wrong(place, format!("it cannot be opened: {error}"))),
        }
    }
    findings
}

async fn open(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).read_only(true).connect().await
}

/// Compares what a sink holds with what it must hold.
fn compare(holding: &Holding, found: &[Entry]) -> Vec<Finding> {
    let named = |entries: &[Entry]| -> Vec<(String, Entry)> {
        entries.iter().map(|entry| (entry.name(), entry.clone())).collect()
    };
    tally(holding.place, &named(&holding.entries), &named(found))
}

/// Compares the names of fields, in whatever order, with those that must be there.
fn has_fields<'n>(holding: &Holding, names: impl Iterator<Item = &'n str>) -> bool {
    let mut found: Vec<&str> = names.collect();
    let mut wanted: Vec<&str> = holding.fields.iter().map(|(name, _)| *name).collect();
    found.sort_unstable();
    wanted.sort_unstable();
    found == wanted
}
