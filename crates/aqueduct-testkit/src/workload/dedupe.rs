//! Of the items with one key, the first passes, and the others do until they are far enough behind it.

use std::collections::{BTreeMap, HashMap};

use aqueduct_core::Random;
use serde_json::json;

use super::{INPUT, Kind, RUN, SOURCE, TABLE, Workload};
use crate::oracle::{Became, Counts, Entry, Expected, Form, Holding, Letter, Type, Value};

/// How many items back a key is remembered.
pub(super) const HORIZON: usize = 60;

/// So many keys that about half of the items repeat one within the horizon, some just behind it.
const KEYS: u64 = 70;

pub(super) const FIELDS: &[(&str, Type)] =
    &[("id", Type::Text), ("key", Type::Text), ("weight", Type::Integer)];

pub(super) fn workload(seed: u64, items: usize) -> Workload {
    let lines = generate(seed, items);
    workload_of(Kind::Dedupe, &lines, |_| 2)
}

/// A workload over these lines in which the item at each place of the input has its value taken so many times.
pub(super) fn workload_of(kind: Kind, lines: &[Line], factor: impl Fn(usize) -> i64) -> Workload {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut came = 0_usize;
    let mut entries = Vec::new();
    let mut letters = Vec::new();
    let mut counts = Counts::default();
    let mut bytes = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        bytes.extend_from_slice(line.text.as_bytes());
        bytes.push(b'\n');
        let Some(key) = &line.key else {
            let id = line.is_object.then(|| line.id.clone());
            let stage = if line.is_object { "once" } else { "source" };
            letters.push(Letter { id, original: line.text.clone(), stage });
            counts.item(Became::FAILED);
            continue;
        };
        // Only items with a key come as far as being remembered.
        came += 1;
        if seen.get(key).is_some_and(|then| came - then <= HORIZON) {
            counts.item(Became::SKIPPED);
            continue;
        }
        seen.insert(key.clone(), came);
        entries.push(Entry(vec![
            Value::Text(line.id.clone()),
            Value::Text(key.clone()),
            Value::Integer(line.value * factor(number)),
        ]));
        counts.item(Became::delivered(3));
    }
    let holding = |sink, form, place| Holding { sink, form, place, fields: FIELDS, entries: entries.clone() };
    let sinks = vec![
        holding("results", Form::Table, "results.db"),
        holding("lines", Form::Lines, "results.jsonl"),
        holding("folder", Form::Rows, "folder"),
    ];
    let positions = vec![(INPUT.to_owned(), bytes.len() as u64)];
    Workload {
        expected: Expected { kind, sinks, letters, counts, positions },
        input: BTreeMap::from([(INPUT, bytes)]),
        before: None,
        pipeline: pipeline(2),
        command: RUN,
    }
}

/// One line of the input.
#[derive(Clone, Debug)]
pub(super) struct Line {
    text: String,
    is_object: bool,
    id: String,
    key: Option<String>,
    value: i64,
}

pub(super) fn generate(seed: u64, items: usize) -> Vec<Line> {
    let mut random = Random::seeded(seed);
    let line = |number: usize| {
        let id = format!("adv-{number:06}");
        let key = format!("k{}", random.below(KEYS));
        let value = i64::try_from(random.below(1_000)).unwrap_or(0);
        match random.below(16) {
            0 => Line {
                text: format!("{{\"id\":\"{id}\",\"key\":{key}"),
                is_object: false,
                id,
                key: None,
                value,
            },
            1 => Line {
                text: json!({"id": id, "value": value}).to_string(),
                is_object: true,
                id,
                key: None,
                value,
            },
            _ => Line {
                text: json!({"id": id, "key": key, "value": value}).to_string(),
                is_object: true,
                id,
                key: Some(key),
                value,
            },
        }
    };
    (0..items).map(line).collect()
}

pub(super) fn pipeline(factor: i64) -> String {
    let parts = format!(
        r#"
[[stage]]
name = "once"
type = "dedupe"
key = "item.key"
horizon_items = {HORIZON}
on_error = "dead-letter"

[[stage]]
name = "weigh"
type = "map"
keep = ["id", "key"]
set = {{ weight = "item.value * {factor}" }}

[[sink]]
name = "results"
type = "sqlite"
path = "results.db"
table = "{TABLE}"

[[sink]]
name = "lines"
type = "jsonl"
path = "results.jsonl"

[[sink]]
name = "folder"
type = "csv"
path = "folder"
"#
    );
    super::pipeline(SOURCE, &parts)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{HORIZON, generate};
    use crate::oracle::Value;
    use crate::workload::{Kind, Workload};

    #[test]
    fn keys_repeat_within_the_horizon_and_behind_it() {
        let keyed: Vec<String> = generate(1, 500).into_iter().filter_map(|line| line.key).collect();
        let mut last = HashMap::new();
        let mut distances = Vec::new();
        for (at, key) in keyed.iter().enumerate() {
            distances.extend(last.insert(key, at).map(|before| at - before));
        }
        let near = distances.iter().filter(|distance| **distance <= HORIZON).count();
        assert!(near >= 100 && distances.len() - near >= 50, "{near} of {}", distances.len());
    }

    #[test]
    fn a_key_passes_again_behind_its_horizon() {
        let workload = Workload::new(1, Kind::Dedupe);
        let passed = &workload.expected().sinks[0].entries;
        let mut times: HashMap<String, usize> = HashMap::new();
        for entry in passed {
            let Value::Text(key) = &entry.0[1] else { panic!("a key is a text") };
            *times.entry(key.clone()).or_default() += 1;
        }
        assert!(times.values().any(|times| *times >= 3), "{times:?}");
    }
}
