//! Evidence is scored, and a low score raises an alert: the pipeline of the README, into every kind of sink.

use std::collections::BTreeMap;

use super::{INPUT, Kind, QUEUES, RUN, SECOND, SOURCE, TABLE, Workload};
use crate::generator::{Evidence, Input, Line};
use crate::oracle::{Became, Counts, Entry, Expected, Form, Holding, Letter, Type, Value};

/// Below this score an item raises an alert.
const THRESHOLD: f64 = 50.0;

/// The expression of [`score`] in the pipeline file.
pub(super) const SCORE: &str =
    "100.0 * (0.5 * double(item.passed) / double(item.passed + item.failed) + 0.3 * item.coverage)";

pub(super) const SCORED: &[(&str, Type)] =
    &[("id", Type::Text), ("project", Type::Text), ("passed", Type::Integer), ("score", Type::Number)];

const ALERT: &[(&str, Type)] =
    &[("id", Type::Text), ("score", Type::Number), ("threshold", Type::Number), ("time", Type::Time)];

/// The same into a table, from a queue that another pipeline fills first. What is no object does not come that far.
pub(super) fn from_a_queue(seed: u64, items: usize) -> Workload {
    let mut input = Input::generate(seed, items);
    input.lines.retain(|line| matches!(line, Line::Evidence(_)));
    let mut workload = workload_of(Kind::Queue, &input);
    let feed = format!(
        r#"name = "feed"
data_dir = "feed"

[source]
{SOURCE}
[sink]
type = "queue"
path = "{QUEUES}"
queue = "evidence"
"#
    );
    workload.before = Some(feed);
    // How far it is read is a set of messages, and the checker does not read queues: what was left in one would be
    // missing from the results.
    workload.expected.positions.clear();
    workload
}

pub(super) fn workload(seed: u64, kind: Kind, items: usize) -> Workload {
    workload_of(kind, &Input::generate(seed, items))
}

fn workload_of(kind: Kind, input: &Input) -> Workload {
    let mut scored = Vec::new();
    let mut alerts = Vec::new();
    let mut letters = Vec::new();
    let mut counts = Counts::default();
    let takers = sinks(kind);
    for line in &input.lines {
        let failed = match line {
            Line::Malformed(text) => Letter { id: None, original: text.clone(), stage: "source" },
            Line::Evidence(evidence) => match score(evidence) {
                None => Letter { id: Some(evidence.id.clone()), original: line.text(), stage: "score" },
                Some(score) => {
                    scored.push(entry(evidence, score));
                    let name = Value::Text(evidence.id.clone());
                    let (score_value, threshold) = (Value::Number(score), Value::Number(THRESHOLD));
                    if score < THRESHOLD {
                        alerts.push(Entry(vec![name, score_value, threshold, Value::Time]));
                    }
                    let alerted = u64::from(score < THRESHOLD);
                    counts.item(Became::delivered(takers.len() as u64 + alerted));
                    continue;
                }
            },
        };
        letters.push(failed);
        counts.item(Became::FAILED);
    }
    let holding = |&(sink, form, place): &(&'static str, Form, &'static str)| Holding {
        sink,
        form,
        place,
        fields: SCORED,
        entries: scored.clone(),
    };
    let mut sinks: Vec<Holding> = takers.iter().map(holding).collect();
    let alerts =
        Holding { sink: "alerts", form: Form::Lines, place: "alerts", fields: ALERT, entries: alerts };
    sinks.push(alerts);
    let bytes = input.bytes();
    Workload {
        expected: Expected {
            kind,
            sinks,
            letters,
            counts,
            positions: vec![(INPUT.to_owned(), bytes.len() as u64)],
        },
        input: BTreeMap::from([(INPUT, bytes)]),
        before: None,
        pipeline: pipeline(kind, &takers),
        command: RUN,
    }
}

/// A result: what [`SCORED`] says.
pub(super) fn entry(evidence: &Evidence, score: f64) -> Entry {
    Entry(vec![
        Value::Text(evidence.id.clone()),
        Value::Text(evidence.project.clone()),
        Value::Integer(evidence.passed.into()),
        Value::Number(score),
    ])
}

/// The expression of the pipeline file, operation by operation, so that every bit must agree.
pub(super) fn score(evidence: &Evidence) -> Option<f64> {
    let passed = f64::from(evidence.passed);
    let failed = f64::from(evidence.failed);
    Some(100.0 * (0.5 * passed / (passed + failed) + 0.3 * evidence.coverage?))
}

/// The sinks that take every result.
fn sinks(kind: Kind) -> Vec<(&'static str, Form, &'static str)> {
    let table = ("results", Form::Table, "results.db");
    let lines = ("lines", Form::Lines, "results.jsonl");
    match kind {
        Kind::Jsonl => vec![lines],
        Kind::Both => vec![table, lines],
        Kind::Second => vec![table, ("second", Form::Table, SECOND)],
        _ => vec![table],
    }
}

fn pipeline(kind: Kind, sinks: &[(&str, Form, &str)]) -> String {
    let mut parts = format!(
        r#"
[[stage]]
name = "score"
type = "map"
keep = ["id", "project", "passed"]
set = {{ score = "{SCORE}" }}
on_error = "dead-letter"

[[stage]]
name = "alert"
type = "alert"
when = "item.score < 50.0"
to = "alerts"
"#
    );
    for (name, form, path) in sinks {
        let kind = match form {
            Form::Table => format!("type = \"sqlite\"\ntable = \"{TABLE}\""),
            Form::Lines => "type = \"jsonl\"".to_owned(),
            Form::Rows => "type = \"csv\"".to_owned(),
        };
        parts.push_str(&format!("\n[[sink]]\nname = \"{name}\"\npath = \"{path}\"\n{kind}\n"));
    }
    parts.push_str("\n[[sink]]\nname = \"alerts\"\ntype = \"jsonl\"\npath = \"alerts\"\n");
    match kind {
        Kind::Queue => {
            let source =
                format!("type = \"queue\"\npath = \"{QUEUES}\"\nqueue = \"evidence\"\nuntil = \"empty\"\n");
            super::pipeline(&source, &parts)
        }
        _ => super::pipeline(SOURCE, &parts),
    }
}

#[cfg(test)]
mod tests {
    use crate::workload::{Kind, Workload};

    #[test]
    fn some_items_raise_an_alert_and_some_do_not() {
        let workload = Workload::new(1, Kind::Jsonl);
        let [scored, alerts] = workload.expected().sinks.as_slice() else { panic!("two sinks") };
        let (scored, alerts) = (scored.entries.len(), alerts.entries.len());
        assert!((50..scored - 50).contains(&alerts), "{alerts}");
    }
}
