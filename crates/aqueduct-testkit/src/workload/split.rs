//! Each element of a list becomes an item; some lists and some elements fail, and may be replayed.

use std::collections::BTreeMap;

use aqueduct_core::Random;
use serde_json::{Value as Json, json};

use super::{FILE, INPUT, Kind, RUN, SOURCE, TABLE, Workload};
use crate::oracle::{Became, Counts, Entry, Expected, Form, Holding, Letter, Type, Value};

const REPLAY: &[&str] = &["dlq", "replay", FILE, "--yes"];

const FIELDS: &[(&str, Type)] = &[("id", Type::Text), ("project", Type::Text), ("double", Type::Integer)];

/// What a pipeline stands.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// The longest list that is split.
    elements_max: usize,
    /// What an element without a value counts as; none when the stage fails on it.
    absent: Option<i64>,
}

/// The rules of the pipeline of [`Kind::Split`], and of the first run of [`Kind::Replay`].
const STRICT: Rules = Rules { elements_max: 4, absent: None };

/// The rules of the mended pipeline. Some lists and elements are beyond these too.
const LENIENT: Rules = Rules { elements_max: 6, absent: Some(0) };

pub(super) fn workload(seed: u64, kind: Kind, items: usize) -> Workload {
    let lines = generate(seed, items);
    let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.text().as_bytes(), b"\n"].concat()).collect();
    let positions = vec![(INPUT.to_owned(), bytes.len() as u64)];
    let strict = Fates::of(&lines, STRICT);
    let (fates, files, before) = match kind {
        Kind::Replay => {
            let lenient = Fates::of(&lines, LENIENT);
            // Files hold what passed at once, and behind it what passed when it was replayed.
            let replayed = lenient.entries.iter().filter(|entry| !strict.entries.contains(entry));
            let files = strict.entries.iter().chain(replayed).cloned().collect();
            (lenient, files, Some(pipeline(STRICT)))
        }
        _ => {
            let files = strict.entries.clone();
            (strict, files, None)
        }
    };
    let holding = |sink, form, place, entries: &Vec<Entry>| Holding {
        sink,
        form,
        place,
        fields: FIELDS,
        entries: entries.clone(),
    };
    let sinks = vec![
        holding("results", Form::Table, "results.db", &fates.entries),
        holding("lines", Form::Lines, "results.jsonl", &files),
        holding("folder", Form::Rows, "folder", &files),
    ];
    let replays = before.is_some();
    Workload {
        expected: Expected { kind, sinks, letters: fates.letters, counts: fates.counts, positions },
        input: BTreeMap::from([(INPUT, bytes)]),
        pipeline: pipeline(if replays { LENIENT } else { STRICT }),
        command: if replays { REPLAY } else { RUN },
        before,
    }
}

/// What becomes of all lines, with the results in the order of the input.
#[derive(Clone, Debug, Default)]
struct Fates {
    entries: Vec<Entry>,
    letters: Vec<Letter>,
    counts: Counts,
}

impl Fates {
    fn of(lines: &[Line], rules: Rules) -> Self {
        let mut fates = Self::default();
        for line in lines {
            let became = fates.add(line, rules);
            fates.counts.item(became);
        }
        fates
    }

    fn add(&mut self, line: &Line, rules: Rules) -> Became {
        let elements = match line {
            Line::Malformed(_) => return self.fail(None, line, "source"),
            Line::Listless { id } => return self.fail(Some(id), line, "split"),
            Line::List { id, elements, .. } if elements.len() > rules.elements_max => {
                return self.fail(Some(id), line, "split");
            }
            Line::List { elements, .. } if elements.is_empty() => return Became::SKIPPED,
            Line::List { elements, .. } => elements,
        };
        let mut became = Became::default();
        for (at, element) in elements.iter().enumerate() {
            let id = line.element_id(at);
            let value = match element {
                Element::Number(value) => Some(*value),
                Element::Absent => rules.absent,
                Element::Word => None,
            };
            match value {
                Some(value) => {
                    let project = Value::Text(line.project());
                    self.entries.push(Entry(vec![Value::Text(id), project, Value::Integer(value * 2)]));
                    became.delivered += 3;
                }
                None => became.failed += self.fail(Some(&id), line, "double").failed,
            }
        }
        became
    }

    fn fail(&mut self, id: Option<&String>, line: &Line, stage: &'static str) -> Became {
        self.letters.push(Letter { id: id.cloned(), original: line.text(), stage });
        Became::FAILED
    }
}

/// One line of the input.
#[derive(Clone, Debug)]
enum Line {
    /// Something that is not JSON.
    Malformed(String),
    /// An object without a list.
    Listless { id: String },
    /// An object with a list, which may be empty or too long.
    List { id: String, elements: Vec<Element> },
}

#[derive(Clone, Copy, Debug)]
enum Element {
    Number(i64),
    /// The value is not there.
    Absent,
    /// A word is there in its place.
    Word,
}

impl Line {
    fn project(&self) -> String {
        match self {
            Self::List { id, .. } => format!("project \"{id}\""),
            _ => String::new(),
        }
    }

    fn element_id(&self, at: usize) -> String {
        match self {
            Self::List { id, .. } => format!("{id}.{at}"),
            _ => String::new(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Malformed(text) => text.clone(),
            Self::Listless { id } => json!({"id": id, "parts": "none"}).to_string(),
            Self::List { id, elements } => {
                let part = |(at, element): (usize, &Element)| -> Json {
                    let name = self.element_id(at);
                    match element {
                        Element::Number(value) => json!({"id": name, "value": value}),
                        Element::Absent => json!({"id": name}),
                        Element::Word => json!({"id": name, "value": "many"}),
                    }
                };
                let parts: Vec<Json> = elements.iter().enumerate().map(part).collect();
                json!({"id": id, "project": self.project(), "parts": parts}).to_string()
            }
        }
    }
}

fn generate(seed: u64, items: usize) -> Vec<Line> {
    let mut random = Random::seeded(seed);
    let line = |number: usize| {
        let id = format!("adv-{number:06}");
        match random.below(24) {
            0 => Line::Malformed(format!("{{\"id\":\"{id}\",\"parts\":[")),
            1 => Line::Listless { id },
            _ => {
                // Nothing, a few, or more than even the lenient rules allow.
                let count = random.below(8);
                let element = |_| match random.below(12) {
                    0 => Element::Absent,
                    1 => Element::Word,
                    _ => Element::Number(i64::try_from(random.below(1_000)).unwrap_or(0)),
                };
                Line::List { id, elements: (0..count).map(element).collect() }
            }
        }
    };
    (0..items).map(line).collect()
}

fn pipeline(rules: Rules) -> String {
    let value = rules
        .absent
        .map_or("item.value".to_owned(), |absent| format!("(has(item.value) ? item.value : {absent})"));
    let parts = format!(
        r#"
[[stage]]
name = "split"
type = "split"
field = "parts"
keep = ["project"]
items_max = {}
on_error = "dead-letter"

[[stage]]
name = "double"
type = "map"
keep = ["id", "project"]
set = {{ double = "{value} * 2" }}
on_error = "dead-letter"

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
"#,
        rules.elements_max
    );
    super::pipeline(SOURCE, &parts)
}

#[cfg(test)]
mod tests {
    use super::{Fates, LENIENT, STRICT, generate};

    #[test]
    fn a_replay_has_letters_that_pass_at_each_stage_and_letters_that_stay() {
        let lines = generate(1, 500);
        let (strict, lenient) = (Fates::of(&lines, STRICT), Fates::of(&lines, LENIENT));
        for stage in ["split", "double"] {
            let count = |fates: &Fates| fates.letters.iter().filter(|letter| letter.stage == stage).count();
            assert!(count(&lenient) >= 20, "{stage} keeps {}", count(&lenient));
            assert!(count(&strict) >= count(&lenient) + 20 || stage == "double");
        }
        assert!(lenient.entries.len() >= strict.entries.len() + 200);
    }
}
