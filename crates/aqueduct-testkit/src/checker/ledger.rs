//! The ledger's own tables: dead letters, totals, the position in the input.

use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::Finding;
use super::tally::tally;
use crate::oracle::{Expected, Letter};
use crate::workload::Kind;

const PLACE: &str = "the ledger";
const LETTERS: &str = "the dead letters";

pub(super) async fn check(ledger: &mut SqliteConnection, expected: &Expected) -> Vec<Finding> {
    let mut findings = check_integrity(PLACE, ledger).await;
    let mut note = |what: Result<Vec<Finding>, sqlx::Error>| match what {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::wrong(PLACE, format!("it cannot be read: {error}"))),
    };
    note(letters(ledger, expected).await);
    note(counts(ledger, expected).await);
    note(position(ledger, expected).await);
    findings
}

/// Lets SQLite check that a database is whole.
pub(super) async fn check_integrity(place: &str, database: &mut SqliteConnection) -> Vec<Finding> {
    let said = match sqlx::query("pragma integrity_check").fetch_all(database).await {
        Ok(rows) => rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>(),
        Err(error) => Err(error),
    };
    match said {
        Ok(said) if said == ["ok"] => Vec::new(),
        Ok(said) => vec![Finding::wrong(place, said.join(" | "))],
        Err(error) => vec![Finding::wrong(place, format!("it cannot be read: {error}"))],
    }
}

async fn letters(ledger: &mut SqliteConnection, expected: &Expected) -> Result<Vec<Finding>, sqlx::Error> {
    let rows = sqlx::query(
        "select stage, reason, attempts, payload, original from aqueduct_dead_letter where pipeline = 'crash' \
         order by item_id, stage",
    );
    let rows = rows.fetch_all(ledger).await?;
    let mut findings = Vec::new();
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let original = String::from_utf8_lossy(&row.try_get::<Vec<u8>, _>("original")?).into_owned();
        if row.try_get::<String, _>("reason")?.is_empty() || row.try_get::<i64, _>("attempts")? < 1 {
            findings.push(Finding::wrong(LETTERS, format!("{original} has no reason or no attempt")));
        }
        let payload: Option<Vec<u8>> = row.try_get("payload")?;
        let payload: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        let id = payload.as_ref().and_then(|payload| payload["id"].as_str()).map(str::to_owned);
        found.push(described(id, &original, row.try_get("stage")?));
    }
    let described = |letter: &Letter| described(letter.id.clone(), &letter.original, letter.stage);
    let wanted: Vec<(String, String)> = expected.letters.iter().map(described).collect();
    findings.extend(tally(LETTERS, &wanted, &found));
    Ok(findings)
}

/// The name of a letter, which is that of its item or else its line, and the rest of it.
fn described(id: Option<String>, original: &str, stage: &str) -> (String, String) {
    (id.unwrap_or_else(|| original.to_owned()), format!("stage {stage} and original {original:?}"))
}

async fn counts(ledger: &mut SqliteConnection, expected: &Expected) -> Result<Vec<Finding>, sqlx::Error> {
    let row =
        sqlx::query("select * from aqueduct_pipeline where pipeline = 'crash'").fetch_one(ledger).await?;
    let mut findings = Vec::new();
    for (name, wanted) in expected.counts.columns() {
        let found: i64 = row.try_get(name)?;
        if u64::try_from(found) != Ok(wanted) {
            findings.push(Finding::wrong(PLACE, format!("{name} is {found} instead of {wanted}")));
        }
    }
    Ok(findings)
}

async fn position(ledger: &mut SqliteConnection, expected: &Expected) -> Result<Vec<Finding>, sqlx::Error> {
    let rows =
        sqlx::query("select name, position from aqueduct_partition where pipeline = 'crash' order by name");
    let rows = rows.fetch_all(ledger).await?;
    let mut positions = Vec::new();
    for row in &rows {
        let position: Option<String> = row.try_get("position")?;
        let position: Option<Value> = position.and_then(|text| serde_json::from_str(&text).ok());
        positions
            .push((row.try_get::<String, _>("name")?, position.and_then(|value| value["offset"].as_u64())));
    }
    let wanted: Vec<(String, Option<u64>)> =
        expected.positions.iter().map(|(name, bytes)| (name.clone(), Some(*bytes))).collect();
    // How far a queue was read is no length, and the results tell it.
    if expected.kind == Kind::Queue || positions == wanted {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::wrong(PLACE, format!("the input is read to {positions:?} instead of {wanted:?}"))])
}
