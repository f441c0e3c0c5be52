//! The files of lines, and what the ledger and the manifest say about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use sqlx::{Row, SqliteConnection};

use super::tally::tally;
use super::{Finding, Values, results};
use crate::oracle::{Expected, THRESHOLD};
use crate::workload::{Places, SinkKind};

const RESULTS: &str = "results.jsonl";
const ALERTS: &str = "alerts";
const MANIFEST: &str = "manifest.json";

pub(super) fn check_results(path: &Path, expected: &Expected) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = Vec::new();
    for line in lines(RESULTS, path, &mut findings) {
        let values = Values::new(line["project"].as_str(), line["passed"].as_i64(), line["score"].as_f64());
        found.push((id(&line), values));
    }
    findings.extend(tally(RESULTS, &results(expected), &found));
    findings
}

pub(super) fn check_alerts(folder: &Path, expected: &Expected) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = Vec::new();
    let parts = match parts(folder) {
        Ok(parts) => parts,
        Err(error) => {
            findings.push(Finding::wrong(ALERTS, format!("the folder cannot be read: {error}")));
            Vec::new()
        }
    };
    for part in parts {
        for line in lines(ALERTS, &folder.join(part), &mut findings) {
            let time = line["time"].as_str().unwrap_or_default();
            if !is_time(time) {
                findings.push(Finding::wrong(ALERTS, format!("{} has the time {time:?}", id(&line))));
            }
            let numbers =
                format!("score {:?}, threshold {:?}", line["score"].as_f64(), line["threshold"].as_f64());
            found.push((id(&line), numbers));
        }
    }
    let alerted = expected.scored.iter().filter(|item| item.is_alerted());
    let wanted: Vec<(String, String)> = alerted
        .map(|item| {
            (item.id.clone(), format!("score {:?}, threshold {:?}", Some(item.score), Some(THRESHOLD)))
        })
        .collect();
    findings.extend(tally(ALERTS, &wanted, &found));
    findings
}

/// Compares the committed lengths in the ledger with the files, and the manifest with both.
pub(super) async fn check_marks(
    ledger: &mut SqliteConnection,
    places: &Places,
    sink: SinkKind,
) -> Vec<Finding> {
    let marks = match marks(ledger).await {
        Ok(marks) => marks,
        Err(error) => {
            return vec![Finding::wrong("the ledger", format!("aqueduct_file cannot be read: {error}"))];
        }
    };
    let mut findings = Vec::new();
    let mut alerts = BTreeMap::new();
    for (sink, part, bytes, items) in marks {
        let path = if sink == ALERTS { places.alerts.join(&part) } else { places.results.clone() };
        let content = fs::read(&path).unwrap_or_default();
        let there = (content.len() as u64, content.iter().filter(|byte| **byte == b'\n').count() as u64);
        if there != (bytes, items) {
            let what =
                format!("{sink}/{part} is marked with {bytes} bytes and {items} items, and holds {there:?}");
            findings.push(Finding::wrong("the ledger", what));
        }
        if sink == ALERTS {
            alerts.insert(part, (bytes, items));
        }
    }
    for part in parts(&places.alerts).unwrap_or_default() {
        if !alerts.contains_key(&part) {
            findings.push(Finding::wrong(ALERTS, format!("the ledger does not know {part}")));
        }
    }
    if sink.has_file() && !places.results.exists() {
        findings.push(Finding::wrong(RESULTS, "it is not there"));
    }
    if manifest(&places.alerts.join(MANIFEST)) != Some(alerts) {
        findings.push(Finding::wrong(ALERTS, "the manifest is not what the ledger says"));
    }
    findings
}

async fn marks(ledger: &mut SqliteConnection) -> Result<Vec<(String, String, u64, u64)>, sqlx::Error> {
    let rows = sqlx::query("select sink, part, bytes, items from aqueduct_file where pipeline = 'crash'");
    let rows = rows.fetch_all(ledger).await?;
    let number = |row: &sqlx::sqlite::SqliteRow, column: &str| {
        row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(u64::MAX))
    };
    rows.iter()
        .map(|row| {
            Ok((row.try_get("sink")?, row.try_get("part")?, number(row, "bytes")?, number(row, "items")?))
        })
        .collect()
}

/// Reads the manifest: parts with their bytes and items.
fn manifest(path: &Path) -> Option<BTreeMap<String, (u64, u64)>> {
    let manifest: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let part = |part: &Value| {
        Some((part["part"].as_str()?.to_owned(), (part["bytes"].as_u64()?, part["items"].as_u64()?)))
    };
    manifest["parts"].as_array()?.iter().map(part).collect()
}

/// The files of a folder in the order of their names, the manifest left out.
fn parts(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != MANIFEST {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads whole lines of JSON; whatever else is in the file is a finding.
fn lines(place: &str, path: &Path, findings: &mut Vec<Finding>) -> Vec<Value> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) => {
            findings.push(Finding::wrong(place, format!("{} cannot be read: {error}", path.display())));
            return Vec::new();
        }
    };
    if content.last().is_some_and(|last| *last != b'\n') {
        findings.push(Finding::wrong(place, "the last line is not whole"));
    }
    let mut values = Vec::new();
    for (number, line) in
        content.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
    {
        match serde_json::from_slice(line) {
            Ok(value) => values.push(value),
            Err(_) => findings.push(Finding::wrong(place, format!("line {} is not JSON", number + 1))),
        }
    }
    values
}

fn id(line: &Value) -> String {
    line["id"].as_str().map_or_else(|| line.to_string(), str::to_owned)
}

/// Tells whether a text looks like `2026-11-20T23:51:49.000Z`.
fn is_time(text: &str) -> bool {
    text.len() == 24
        && text.bytes().zip(b"0000-00-00T00:00:00.000Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}
