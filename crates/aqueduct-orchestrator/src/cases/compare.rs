//! Holds what came out against what was expected.

use std::collections::BTreeSet;

use aqueduct_store::{DeadLetter, Original};
use serde_json::Value as Json;

use super::read::{Case, ExpectedLetter, ExpectedRow, count};
use super::{Difference, Outcome, REAL_TIME_MAX};

/// The letters of a value that are shown; a longer one is cut.
const SHOWN_MAX: usize = 500;

pub(super) fn compare(case: &Case, outcome: &Outcome) -> Vec<Difference> {
    let mut found = Differences(Vec::new());
    if outcome.hung {
        let limit = format!("the run ends within {} s of real time", REAL_TIME_MAX.as_secs());
        found.add("the run", limit, "it did not: a stage hangs, or waits for what never comes".to_owned());
        return found.0;
    }
    match (&case.fails, &outcome.failure) {
        (None, None) => {}
        (None, Some(failure)) => found.add("the run", "it ends well".to_owned(), failure.clone()),
        (Some(text), None) => {
            found.add("the run", format!("fails with {text:?}"), "it ended well".to_owned())
        }
        (Some(text), Some(failure)) if failure.contains(text.as_str()) => {}
        (Some(text), Some(failure)) => {
            found.add("the run", format!("fails with {text:?}"), failure.clone());
        }
    }
    for (sink, expected) in &case.expect {
        if let Some((_, actual)) = outcome.sinks.iter().find(|(name, _)| name == sink) {
            rows(sink, expected, actual, &mut found);
        }
    }
    letters(case, outcome, &mut found);
    let counts = outcome.report.as_ref().map(|report| report.counts).unwrap_or_default();
    for (key, expected) in &case.ledger {
        let actual = count(&counts, key).unwrap_or_default();
        found.equal(&format!("ledger, {key}"), expected, &actual);
    }
    if let Some(expected) = case.retries {
        let actual = outcome.report.as_ref().map_or(0, |report| report.retries);
        found.equal("retries", &expected, &actual);
    }
    if let Some(expected) = case.elapsed_seconds {
        let actual = outcome.report.as_ref().map_or(0.0, |report| report.elapsed.as_secs_f64());
        // The clock counts finer than anybody writes.
        if (expected - actual).abs() >= 0.001 {
            found.add("elapsed_seconds", expected.to_string(), actual.to_string());
        }
    }
    found.0
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, what: &str, expected: String, actual: String) {
        self.0.push(Difference {
            what: what.to_owned(),
            expected: shortened(expected),
            actual: shortened(actual),
        });
    }

    fn equal<T: PartialEq + std::fmt::Display>(&mut self, what: &str, expected: &T, actual: &T) {
        if expected != actual {
            self.add(what, expected.to_string(), actual.to_string());
        }
    }
}

fn shortened(text: String) -> String {
    if text.chars().count() <= SHOWN_MAX {
        return text;
    }
    text.chars().take(SHOWN_MAX).chain("...".chars()).collect()
}

fn rows(sink: &str, expected: &[ExpectedRow], actual: &[Json], found: &mut Differences) {
    for at in 0..expected.len().max(actual.len()) {
        let what = format!("{sink} row {}", at + 1);
        match (expected.get(at), actual.get(at)) {
            (Some(expected), Some(actual)) => fields(&what, expected, actual, found),
            (Some(expected), None) => found.add(&what, expected.json.to_string(), "no such row".to_owned()),
            (None, Some(actual)) => found.add(&what, "no such row".to_owned(), actual.to_string()),
            (None, None) => {}
        }
    }
}

/// Compares field by field. TOML has no null, so a field that is null and one that is left out are the same, unless the
/// expectation is JSON itself.
fn fields(what: &str, expected: &ExpectedRow, actual: &Json, found: &mut Differences) {
    let (Json::Object(wanted), Json::Object(there)) = (&expected.json, actual) else {
        if !same(&expected.json, actual) {
            found.add(what, expected.json.to_string(), actual.to_string());
        }
        return;
    };
    let keys: BTreeSet<&String> = wanted.keys().chain(there.keys()).collect();
    for key in keys {
        let (wanted, there) = (wanted.get(key), there.get(key));
        let equal = match (wanted, there) {
            (Some(wanted), Some(there)) => same(wanted, there),
            (None, Some(there)) => !expected.exact && there.is_null(),
            (Some(wanted), None) => !expected.exact && wanted.is_null(),
            (None, None) => true,
        };
        if !equal {
            let shown = |value: Option<&Json>| value.map_or("no such field".to_owned(), Json::to_string);
            found.add(&format!("{what}, {key}"), shown(wanted), shown(there));
        }
    }
}

/// Tells whether a value is the one that was expected. A number is its value however it is written; a database keeps
/// truth values as 0 and 1, and nested values as JSON text.
fn same(expected: &Json, actual: &Json) -> bool {
    match (expected, actual) {
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Bool(truth), Json::Number(number)) => number.as_i64() == Some(i64::from(*truth)),
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (Json::Array(_) | Json::Object(_), Json::String(text)) => serde_json::from_str(text)
            .is_ok_and(|nested: Json| !nested.is_string() && same(expected, &nested)),
        _ => expected == actual,
    }
}

/// The dead letters, in the order of the input. Ones that nobody expects are a difference, too, unless the case counts
/// them.
fn letters(case: &Case, outcome: &Outcome, found: &mut Differences) {
    let expected = match &case.letters {
        Some(expected) => expected.as_slice(),
        None if case.ledger.iter().any(|(key, _)| key == "dead_lettered") => return,
        None => &[],
    };
    for at in 0..expected.len().max(outcome.letters.len()) {
        let what = format!("dead letter {}", at + 1);
        match (expected.get(at), outcome.letters.get(at)) {
            (Some(expected), Some(actual)) => letter(&what, expected, actual, outcome, found),
            (Some(expected), None) => found.add(&what, expected.to_string(), "no such letter".to_owned()),
            (None, Some(actual)) => {
                let words =
                    format!("item {} at {}: {}", ordinal(actual, outcome), actual.stage, actual.reason);
                found.add(&what, "no such letter".to_owned(), words);
            }
            (None, None) => {}
        }
    }
}

fn letter(
    what: &str,
    expected: &ExpectedLetter,
    actual: &DeadLetter,
    outcome: &Outcome,
    found: &mut Differences,
) {
    if let Some(stage) = &expected.stage {
        found.equal(&format!("{what}, stage"), stage, &actual.stage);
    }
    if let Some(class) = &expected.class {
        found.equal(&format!("{what}, class"), class, &actual.class);
    }
    if let Some(attempts) = &expected.attempts {
        found.equal(&format!("{what}, attempts"), attempts, &actual.attempts);
    }
    if let Some(reason) = expected.reason.as_ref().filter(|reason| !actual.reason.contains(reason.as_str())) {
        found.add(&format!("{what}, reason"), format!("contains {reason:?}"), actual.reason.clone());
    }
    if let Some(item) = &expected.item {
        found.equal(&format!("{what}, item"), item, &ordinal(actual, outcome));
    }
    if let Some(text) = &expected.original {
        let (Original::Whole(bytes) | Original::Cut { head: bytes, .. }) = &actual.original;
        let original = String::from_utf8_lossy(bytes);
        if original != text.as_str() {
            found.add(&format!("{what}, original"), text.clone(), original.into_owned());
        }
    }
    let Some(payload) = &expected.payload else { return };
    let actual: Json =
        actual.payload.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
    for (key, wanted) in payload {
        let there = actual.get(key);
        if !there.is_some_and(|there| same(wanted, there)) {
            let shown = there.map_or("no such field".to_owned(), Json::to_string);
            found.add(&format!("{what}, payload {key}"), wanted.to_string(), shown);
        }
    }
}

/// Which item of the input a letter is about, from 1; 0 for one that is not among them.
fn ordinal(letter: &DeadLetter, outcome: &Outcome) -> usize {
    let offset = letter.item_id.parse::<aqueduct_core::ItemId>().map(|id| id.offset());
    let at = offset.ok().and_then(|offset| outcome.offsets.iter().position(|known| *known == offset));
    at.map_or(0, |at| at + 1)
}
