//! What the ledger and the manifests say about the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use sqlx::{Row, SqliteConnection};

use super::Finding;
use super::files::{MANIFEST, count, parts};
use crate::oracle::{Expected, Form, Holding};

const LEDGER: &str = "the ledger";

/// Bytes and items of each part.
type Parts = BTreeMap<String, (u64, u64)>;

/// Compares the committed lengths in the ledger with the files, and the manifests with both.
pub(super) async fn check(ledger: &mut SqliteConnection, folder: &Path, expected: &Expected) -> Vec<Finding> {
    let mut marks = match read(ledger).await {
        Ok(marks) => marks,
        Err(error) => return vec![Finding::wrong(LEDGER, format!("aqueduct_file cannot be read: {error}"))],
    };
    let mut findings = Vec::new();
    for holding in expected.sinks.iter().filter(|holding| holding.form != Form::Table) {
        let marks = marks.remove(holding.sink).unwrap_or_default();
        findings.extend(check_one(folder, holding, &marks));
    }
    let unknown = |sink: &String| Finding::wrong(LEDGER, format!("it marks files of {sink}, which has none"));
    findings.extend(marks.keys().map(unknown));
    findings
}

fn check_one(folder: &Path, holding: &Holding, marks: &Parts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = folder.join(holding.place);
    for (part, marked) in marks {
        let path = if holding.is_folder() { place.join(part) } else { place.clone() };
        let content = fs::read(path).unwrap_or_default();
        let there = count(holding.form, &content).map(|items| (content.len() as u64, items));
        if there != Some(*marked) {
            let sink = holding.sink;
            let what =
                format!("{sink}/{part} is marked with {marked:?} bytes and items, and holds {there:?}");
            findings.push(Finding::wrong(LEDGER, what));
        }
    }
    if !holding.is_folder() {
        if marks.len() != 1 {
            findings
                .push(Finding::wrong(LEDGER, format!("it has {} marks for {}", marks.len(), holding.place)));
        }
        return findings;
    }
    for part in parts(&place).unwrap_or_default() {
        if !marks.contains_key(&part) {
            findings.push(Finding::wrong(holding.place, format!("the ledger does not know {part}")));
        }
    }
    if manifest(&place.join(MANIFEST)).as_ref() != Some(marks) {
        findings.push(Finding::wrong(holding.place, "the manifest is not what the ledger says"));
    }
    findings
}

/// The marks of each sink.
async fn read(ledger: &mut SqliteConnection) -> Result<BTreeMap<String, Parts>, sqlx::Error> {
    let rows = sqlx::query("select sink, part, bytes, items from aqueduct_file where pipeline = 'crash'");
    let rows = rows.fetch_all(ledger).await?;
    let mut marks: BTreeMap<String, Parts> = BTreeMap::new();
    for row in &rows {
        let number = |column: &str| {
            row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(u64::MAX))
        };
        let counted = (number("bytes")?, number("items")?);
        marks.entry(row.try_get("sink")?).or_default().insert(row.try_get("part")?, counted);
    }
    Ok(marks)
}

/// Reads the manifest: parts with their bytes and items.
fn manifest(path: &Path) -> Option<Parts> {
    let manifest: Json = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let part = |part: &Json| {
        Some((part["part"].as_str()?.to_owned(), (part["bytes"].as_u64()?, part["items"].as_u64()?)))
    };
    manifest["parts"].as_array()?.iter().map(part).collect()
}
