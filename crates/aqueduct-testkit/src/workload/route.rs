//! Copies of an item go wherever a condition holds: to branches with stages of their own, and straight to sinks.

use std::collections::BTreeMap;

use super::evidence::{SCORE, SCORED, entry, score};
use super::{INPUT, Kind, RUN, SOURCE, TABLE, Workload};
use crate::generator::{Evidence, Input, Line};
use crate::oracle::{Became, Counts, Entry, Expected, Form, Holding, Letter, Type, Value};

const KEPT: &[(&str, Type)] = &[("id", Type::Text), ("passed", Type::Integer), ("failed", Type::Integer)];

pub(super) fn workload(seed: u64, items: usize) -> Workload {
    let input = Input::generate(seed, items);
    let mut sinks = vec![
        Holding { sink: "low", form: Form::Table, place: "results.db", fields: SCORED, entries: Vec::new() },
        Holding { sink: "even", form: Form::Lines, place: "even.jsonl", fields: KEPT, entries: Vec::new() },
        Holding { sink: "third", form: Form::Rows, place: "third", fields: KEPT, entries: Vec::new() },
        Holding { sink: "rest", form: Form::Rows, place: "rest.csv", fields: KEPT, entries: Vec::new() },
    ];
    let mut letters = Vec::new();
    let mut counts = Counts::default();
    for line in &input.lines {
        let evidence = match line {
            Line::Evidence(evidence) => evidence,
            Line::Malformed(text) => {
                letters.push(Letter { id: None, original: text.clone(), stage: "source" });
                counts.item(Became::FAILED);
                continue;
            }
        };
        let mut became = Became::default();
        let mut deliver = |sink: usize, entry: Entry| {
            sinks[sink].entries.push(entry);
            became.delivered += 1;
        };
        let Evidence { passed, failed, .. } = *evidence;
        if passed < 40 {
            match score(evidence) {
                Some(score) => deliver(0, entry(evidence, score)),
                None => {
                    let id = Some(evidence.id.clone());
                    letters.push(Letter { id, original: line.text(), stage: "score" });
                    became.failed += 1;
                }
            }
        }
        let mut deliver = |sink: usize| {
            sinks[sink].entries.push(kept(evidence));
            became.delivered += 1;
        };
        if failed >= 30 {
            if failed % 2 == 0 {
                deliver(1);
            } else {
                became.skipped += 1;
            }
        }
        if passed % 3 == 0 {
            deliver(2);
        }
        if passed >= 40 && failed < 30 && passed % 3 != 0 {
            deliver(3);
        }
        counts.item(became);
    }
    let bytes = input.bytes();
    let positions = vec![(INPUT.to_owned(), bytes.len() as u64)];
    Workload {
        expected: Expected { kind: Kind::Route, sinks, letters, counts, positions },
        input: BTreeMap::from([(INPUT, bytes)]),
        before: None,
        pipeline: pipeline(),
        command: RUN,
    }
}

fn kept(evidence: &Evidence) -> Entry {
    let Evidence { id, passed, failed, .. } = evidence;
    Entry(vec![Value::Text(id.clone()), Value::Integer((*passed).into()), Value::Integer((*failed).into())])
}

fn pipeline() -> String {
    let parts = format!(
        r#"
[[stage]]
name = "less"
type = "map"
keep = ["id", "project", "passed", "failed", "coverage"]

[[stage]]
name = "sort"
type = "route"
match = "all"
routes = {{ low = "item.passed < 40", high = "item.failed >= 30", thin = "item.passed % 3 == 0" }}
otherwise = "others"

[[stage]]
name = "score"
type = "map"
branch = "low"
keep = ["id", "project", "passed"]
set = {{ score = "{SCORE}" }}
on_error = "dead-letter"

[[stage]]
name = "bare"
type = "map"
branch = "high"
keep = ["id", "passed", "failed"]

[[stage]]
name = "parity"
type = "route"
branch = "high"
routes = {{ even = "item.failed % 2 == 0" }}
otherwise = "skip"

[[stage]]
name = "thinner"
type = "map"
branch = "thin"
keep = ["id", "passed", "failed"]

[[stage]]
name = "bare-others"
type = "map"
branch = "others"
keep = ["id", "passed", "failed"]

[[sink]]
name = "low"
type = "sqlite"
path = "results.db"
table = "{TABLE}"
branch = "low"

[[sink]]
name = "even"
type = "jsonl"
path = "even.jsonl"

[[sink]]
name = "third"
type = "csv"
path = "third"
branch = "thin"

[[sink]]
name = "rest"
type = "csv"
path = "rest.csv"
branch = "others"
"#
    );
    super::pipeline(SOURCE, &parts)
}
