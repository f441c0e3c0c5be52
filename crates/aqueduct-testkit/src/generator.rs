use aqueduct_core::Random;
use serde_json::json;

/// One piece of evidence about a project.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evidence {
    /// Its name, unique in the input.
    pub(crate) id: String,
    /// The project.
    pub(crate) project: String,
    /// Checks that passed.
    pub(crate) passed: u32,
    /// Checks that failed; with `passed` at least 1.
    pub(crate) failed: u32,
    /// The share of the code that is covered; without it, the score cannot be computed.
    pub(crate) coverage: Option<f64>,
}

/// One line of the input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// A JSON object.
    Evidence(Evidence),
    /// Something that is not JSON.
    Malformed(String),
}

impl Line {
    /// The line's text, without its end.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Malformed(text) => text.clone(),
            Self::Evidence(evidence) => {
                let mut object = json!({
                    "id": evidence.id,
                    "project": evidence.project,
                    "passed": evidence.passed,
                    "failed": evidence.failed,
                    "notes": "kept out of the results, and here to give the line the length of a real one",
                });
                if let (Some(coverage), Some(fields)) = (evidence.coverage, object.as_object_mut()) {
                    fields.insert("coverage".to_owned(), json!(coverage));
                }
                object.to_string()
            }
        }
    }
}

/// The lines that a workload reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    /// All of them, in order.
    pub(crate) lines: Vec<Line>,
}

/// Names that a careless writer or reader would trip over.
const PROJECTS: [&str; 5] = ["arch", "br\u{fc}cke", "\u{6c34}\u{9053}", "o'hara", "say \"aqua\" \\ now"];

impl Input {
    /// Makes `count` lines from a seed. About one in sixteen is not JSON and one in sixteen lacks its coverage;
    /// from 16 lines on there is at least one of each.
    pub(crate) fn generate(seed: u64, count: usize) -> Self {
        let mut random = Random::seeded(seed);
        let line = |number: usize| match (number, random.below(16)) {
            (7, _) | (0..=10 | 12.., 0) => {
                Line::Malformed(format!("{{\"id\":\"adv-{number:06}\",\"passed\":{number},"))
            }
            (_, chance) => {
                let passed = u32::try_from(random.below(100)).unwrap_or(0);
                let failed = 1 + u32::try_from(random.below(60)).unwrap_or(0);
                // Four digits: many values, and none that a decimal text cannot carry exactly.
                let coverage = f64::from(u32::try_from(random.below(10_001)).unwrap_or(0)) / 10_000.0;
                let lacks_it = number == 11 || chance == 1;
                Line::Evidence(Evidence {
                    id: format!("adv-{number:06}"),
                    project: PROJECTS[number % PROJECTS.len()].to_owned(),
                    passed,
                    failed,
                    coverage: (!lacks_it).then_some(coverage),
                })
            }
        };
        Self { lines: (0..count).map(line).collect() }
    }

    /// The input as the bytes of a file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in &self.lines {
            bytes.extend_from_slice(line.text().as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, Line};

    #[test]
    fn the_same_seed_gives_the_same_lines() {
        assert_eq!(Input::generate(3, 200), Input::generate(3, 200));
        assert_ne!(Input::generate(3, 200), Input::generate(4, 200));
    }

    #[test]
    fn every_seed_gives_poison_of_both_kinds() {
        for seed in 0..50 {
            let lines = Input::generate(seed, 16).lines;
            assert!(lines.iter().any(|line| matches!(line, Line::Malformed(_))));
            assert!(lines.iter().any(|line| matches!(line, Line::Evidence(one) if one.coverage.is_none())));
            for line in lines {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line.text());
                assert_eq!(parsed.is_ok(), matches!(line, Line::Evidence(_)));
            }
        }
    }
}
