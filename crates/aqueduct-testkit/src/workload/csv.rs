//! Evidence in comma-separated files, one of them compressed, is scored into such a file and a folder of them.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::evidence::{SCORE, score};
use super::{Kind, RUN, Workload};
use crate::generator::{Evidence, Input, Line};
use crate::oracle::{Became, Counts, Entry, Expected, Form, Holding, Letter, Type, Value};

/// Items with a lower score are left out.
const LEAST: f64 = 20.0;

const FILES: [&str; 2] = ["in/a.csv", "in/b.csv.gz"];

const HEADER: &str = "id,project,passed,failed,coverage,note\r\n";

const FIELDS: &[(&str, Type)] = &[
    ("id", Type::Text),
    ("project", Type::Text),
    ("passed", Type::Integer),
    ("note", Type::Text),
    ("score", Type::Number),
];

pub(super) fn workload(seed: u64, items: usize) -> Workload {
    let lines = Input::generate(seed, items).lines;
    let mut entries = Vec::new();
    let mut letters = Vec::new();
    let mut counts = Counts::default();
    let mut contents = FILES.map(|_| HEADER.to_owned());
    for (number, line) in lines.iter().enumerate() {
        let row = row(number, line);
        // The last row of the first file has no line end.
        let last = number + 1 == items * 3 / 5;
        let content = &mut contents[usize::from(number >= items * 3 / 5)];
        content.push_str(&row);
        content.push_str(match (last, number % 2) {
            (true, _) => "",
            (_, 0) => "\n",
            _ => "\r\n",
        });
        counts.item(match line {
            Line::Malformed(_) => {
                letters.push(Letter { id: None, original: row, stage: "source" });
                Became::FAILED
            }
            Line::Evidence(evidence) => match score(evidence) {
                None => {
                    letters.push(Letter { id: Some(evidence.id.clone()), original: row, stage: "score" });
                    Became::FAILED
                }
                Some(score) if score < LEAST => Became::SKIPPED,
                Some(score) => {
                    entries.push(entry(number, evidence, score));
                    Became::delivered(2)
                }
            },
        });
    }
    let holding =
        |sink, place| Holding { sink, form: Form::Rows, place, fields: FIELDS, entries: entries.clone() };
    let sinks = vec![holding("rows", "rows"), holding("file", "results.csv")];
    let bytes = contents.each_ref().map(|content| content.len() as u64);
    let positions = FILES.map(str::to_owned).into_iter().zip(bytes).collect();
    let [plain, packed] = contents.map(String::into_bytes);
    Workload {
        expected: Expected { kind: Kind::Csv, sinks, letters, counts, positions },
        input: BTreeMap::from([(FILES[0], plain), (FILES[1], compressed(&packed))]),
        before: None,
        pipeline: pipeline(),
        command: RUN,
    }
}

fn entry(number: usize, evidence: &Evidence, score: f64) -> Entry {
    Entry(vec![
        Value::Text(evidence.id.clone()),
        Value::Text(evidence.project.clone()),
        Value::Integer(evidence.passed.into()),
        Value::Text(note(number)),
        Value::Number(score),
    ])
}

/// A row without its end. Malformed ones lack columns, or hold a word where a number must be.
fn row(number: usize, line: &Line) -> String {
    match line {
        Line::Malformed(_) if number.is_multiple_of(2) => format!("adv-{number:06},too few"),
        Line::Malformed(_) => format!("adv-{number:06},arch,many,1,0.5,\"a \"\"word\"\",\nnot a number\""),
        Line::Evidence(evidence) => {
            let coverage = evidence.coverage.map(|coverage| coverage.to_string()).unwrap_or_default();
            let Evidence { id, project, passed, failed, .. } = evidence;
            format!(
                "{id},{},{passed},{failed},{coverage},{}",
                quoted(project, number),
                quoted(&note(number), number)
            )
        }
    }
}

/// Texts that a careless reader of rows would trip over.
fn note(number: usize) -> String {
    match number % 4 {
        0 => "plain".to_owned(),
        1 => format!("first line {number}\nsecond, \"quoted\" line"),
        2 => String::new(),
        _ => "\"\"".to_owned(),
    }
}

/// A field, in quotes where it must be, and now and then where it need not be.
fn quoted(text: &str, number: usize) -> String {
    if text.contains(['"', ',', '\n']) || number.is_multiple_of(3) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes what is written to it")
}

fn pipeline() -> String {
    let source = r#"type = "csv"
path = "in/*"
types = { passed = "integer", failed = "integer", coverage = "float" }
"#;
    let parts = format!(
        r#"
[[stage]]
name = "score"
type = "map"
keep = ["id", "project", "passed", "note"]
set = {{ score = "{SCORE}" }}
on_error = "dead-letter"

[[stage]]
name = "enough"
type = "filter"
when = "item.score >= 20.0"

[[sink]]
name = "rows"
type = "csv"
path = "rows"

[[sink]]
name = "file"
type = "csv"
path = "results.csv"
columns = ["score", "note", "passed", "project", "id"]
"#
    );
    super::pipeline(source, &parts)
}
