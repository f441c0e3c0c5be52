use std::collections::BTreeMap;

use crate::generator::{Evidence, Input, Line};
use crate::workload::SinkKind;

/// Below this score an item raises an alert.
pub(crate) const THRESHOLD: f64 = 50.0;

/// A result that must be there once in every sink.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The item's own name.
    pub id: String,
    /// Carried over.
    pub project: String,
    /// Carried over.
    pub passed: u32,
    /// Computed.
    pub score: f64,
}

impl Scored {
    /// Tells whether there must be an alert too.
    #[must_use]
    pub fn is_alerted(&self) -> bool {
        self.score < THRESHOLD
    }
}

/// A dead letter that must be there once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The line that it came from, which no other line equals.
    pub original: String,
    /// Where it failed.
    pub stage: &'static str,
}

/// What must be there when the work is done, whatever happened in between.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// Where the results go.
    pub sink: SinkKind,
    /// The results, in the order of the input.
    pub scored: Vec<Scored>,
    /// The dead letters, in the order of the input.
    pub letters: Vec<Letter>,
    /// How many items were read.
    pub read: u64,
    /// How many bytes were read.
    pub input_bytes: u64,
}

impl Expected {
    /// Computes what becomes of an input.
    #[must_use]
    pub fn of(input: &Input, sink: SinkKind) -> Self {
        let mut scored = Vec::new();
        let mut letters = Vec::new();
        for line in &input.lines {
            match line {
                Line::Malformed(text) => letters.push(Letter { original: text.clone(), stage: "source" }),
                Line::Evidence(evidence) => match score(evidence) {
                    None => letters.push(Letter { original: line.text(), stage: "score" }),
                    Some(score) => scored.push(Scored {
                        id: evidence.id.clone(),
                        project: evidence.project.clone(),
                        passed: evidence.passed,
                        score,
                    }),
                },
            }
        }
        Self {
            sink,
            scored,
            letters,
            read: input.lines.len() as u64,
            input_bytes: input.bytes().len() as u64,
        }
    }

    /// What the ledger must have counted.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let scored = self.scored.len() as u64;
        let alerts = self.scored.iter().filter(|item| item.is_alerted()).count() as u64;
        let sinks = self.sink.result_sinks();
        BTreeMap::from([
            ("read", self.read),
            ("spawned", scored * (sinks - 1) + alerts),
            ("delivered", scored * sinks + alerts),
            ("dead_lettered", self.letters.len() as u64),
            ("skipped", 0),
            ("absorbed", 0),
            ("dropped", 0),
            ("abandoned", 0),
            ("in_flight", 0),
        ])
    }
}

/// The expression of the workload's pipeline file, operation by operation, so that every bit must agree.
fn score(evidence: &Evidence) -> Option<f64> {
    let passed = f64::from(evidence.passed);
    let failed = f64::from(evidence.failed);
    Some(100.0 * (0.5 * passed / (passed + failed) + 0.3 * evidence.coverage?))
}

#[cfg(test)]
mod tests {
    use super::Expected;
    use crate::generator::Input;
    use crate::workload::SinkKind;

    #[test]
    fn the_expected_counts_balance() {
        for sink in SinkKind::ALL {
            let counts = Expected::of(&Input::generate(1, 500), sink).counts();
            let sum = |names: &[&str]| names.iter().map(|name| counts[name]).sum::<u64>();
            assert_eq!(sum(&["read", "spawned"]), sum(&["delivered", "dead_lettered"]));
        }
    }

    #[test]
    fn some_items_raise_an_alert_and_some_do_not() {
        let expected = Expected::of(&Input::generate(1, 500), SinkKind::Jsonl);
        let alerts = expected.scored.iter().filter(|item| item.is_alerted()).count();
        assert!((50..expected.scored.len() - 50).contains(&alerts), "{alerts}");
    }
}
