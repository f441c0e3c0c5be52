//! The files of lines and of rows.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::{Finding, compare, csv, has_fields};
use crate::oracle::{Entry, Form, Holding, Type, Value};

pub(super) const MANIFEST: &str = "manifest.json";

/// Compares a file, or the parts of a folder one after the other, with the results that must be there.
pub(super) fn check(folder: &Path, holding: &Holding) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = Vec::new();
    for path in files(folder, holding, &mut findings) {
        match fs::read(&path) {
            Ok(content) => match holding.form {
                Form::Rows => found.extend(rows(holding, &content, &mut findings)),
                _ => found.extend(lines(holding, &content, &mut findings)),
            },
            Err(error) => {
                let what = format!("{} cannot be read: {error}", path.display());
                findings.push(Finding::wrong(holding.place, what));
            }
        }
    }
    findings.extend(compare(holding, &found));
    findings
}

fn files(folder: &Path, holding: &Holding, findings: &mut Vec<Finding>) -> Vec<PathBuf> {
    let path = folder.join(holding.place);
    if !holding.is_folder() {
        return vec![path];
    }
    match parts(&path) {
        Ok(parts) => parts.into_iter().map(|part| path.join(part)).collect(),
        Err(error) => {
            findings.push(Finding::wrong(holding.place, format!("the folder cannot be read: {error}")));
            Vec::new()
        }
    }
}

/// The files of a folder in the order of their names, the manifest left out.
pub(super) fn parts(folder: &Path) -> std::io::Result<Vec<String>> {
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

/// How many results a file of this form holds; none when it is not whole.
pub(super) fn count(form: Form, content: &[u8]) -> Option<u64> {
    match form {
        Form::Rows if content.is_empty() => Some(0),
        Form::Rows => Some(csv::records(std::str::from_utf8(content).ok()?)?.len() as u64 - 1),
        _ => Some(content.iter().filter(|byte| **byte == b'\n').count() as u64),
    }
}

/// Reads whole lines of JSON; whatever else is in the file is a finding.
fn lines(holding: &Holding, content: &[u8], findings: &mut Vec<Finding>) -> Vec<Entry> {
    let mut wrong = |what: String| findings.push(Finding::wrong(holding.place, what));
    if content.last().is_some_and(|last| *last != b'\n') {
        wrong("the last line is not whole".to_owned());
    }
    let mut entries = Vec::new();
    for (number, line) in
        content.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
    {
        let Ok(Json::Object(line)) = serde_json::from_slice(line) else {
            wrong(format!("line {} is not a JSON object", number + 1));
            continue;
        };
        if !has_fields(holding, line.keys().map(String::as_str)) {
            wrong(format!("line {} has other fields than a result", number + 1));
        }
        let value =
            |(name, what): &(&str, Type)| line.get(*name).map_or(absent(), |value| of_json(value, *what));
        entries.push(Entry(holding.fields.iter().map(value).collect()));
    }
    entries
}

/// Reads rows behind a header; whatever else is in the file is a finding.
fn rows(holding: &Holding, content: &[u8], findings: &mut Vec<Finding>) -> Vec<Entry> {
    let mut wrong = |what: String| findings.push(Finding::wrong(holding.place, what));
    let records = std::str::from_utf8(content).ok().and_then(csv::records);
    let Some(records) = records else {
        wrong("its rows are not whole".to_owned());
        return Vec::new();
    };
    let Some((header, records)) = records.split_first() else {
        return Vec::new();
    };
    if !has_fields(holding, header.iter().map(String::as_str)) {
        wrong(format!("its header is {header:?}"));
        return Vec::new();
    }
    let mut entries = Vec::new();
    for (number, record) in records.iter().enumerate() {
        if record.len() != header.len() {
            wrong(format!("row {} has {} fields", number + 1, record.len()));
            continue;
        }
        let value = |(name, what): &(&str, Type)| {
            let at = header.iter().position(|column| column == name);
            at.map_or(absent(), |at| of_text(&record[at], *what))
        };
        entries.push(Entry(holding.fields.iter().map(value).collect()));
    }
    entries
}

fn absent() -> Value {
    Value::Other("nothing".to_owned())
}

fn of_json(value: &Json, what: Type) -> Value {
    let other = || Value::Other(value.to_string());
    match what {
        Type::Text => value.as_str().map_or_else(other, |text| Value::Text(text.to_owned())),
        Type::Integer => value.as_i64().map_or_else(other, Value::Integer),
        Type::Number => value.as_f64().map_or_else(other, Value::Number),
        Type::Time => value.as_str().filter(|text| is_time(text)).map_or_else(other, |_| Value::Time),
    }
}

fn of_text(text: &str, what: Type) -> Value {
    let other = || Value::Other(text.to_owned());
    match what {
        Type::Text => Value::Text(text.to_owned()),
        Type::Integer => text.parse().map_or_else(|_| other(), Value::Integer),
        Type::Number => text.parse().map_or_else(|_| other(), Value::Number),
        Type::Time if is_time(text) => Value::Time,
        Type::Time => other(),
    }
}

/// Tells whether a text looks like `2026-11-20T23:51:49.000Z`.
fn is_time(text: &str) -> bool {
    text.len() == 24
        && text.bytes().zip(b"0000-00-00T00:00:00.000Z").all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}
