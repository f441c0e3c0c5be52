//! Compares a list of what must be there with a list of what is there.

use std::collections::HashMap;
use std::fmt::Display;

use super::{Fault, Finding};

/// Finds what is missing, what is there twice, what has other values, what nobody expects, and what is out of
/// the order of the input.
pub(super) fn tally<T: PartialEq + Display>(
    place: &str,
    expected: &[(String, T)],
    found: &[(String, T)],
) -> Vec<Finding> {
    let finding = |fault, what| Finding { fault, place: place.to_owned(), what };
    let wanted: HashMap<&str, (usize, &T)> =
        expected.iter().enumerate().map(|(at, (key, value))| (key.as_str(), (at, value))).collect();
    let mut findings = Vec::new();
    let mut seen = vec![0_usize; expected.len()];
    let mut last = 0;
    for (key, value) in found {
        let Some((at, wanted)) = wanted.get(key.as_str()) else {
            findings.push(finding(Fault::Wrong, format!("nobody expects {key}")));
            continue;
        };
        seen[*at] += 1;
        if *wanted != value {
            findings.push(finding(Fault::Wrong, format!("{key} has {value} instead of {wanted}")));
        }
        if *at < last {
            findings.push(finding(Fault::Wrong, format!("{key} is out of order")));
        }
        last = *at;
    }
    for ((key, _), count) in expected.iter().zip(seen) {
        match count {
            0 => findings.push(finding(Fault::Lost, key.clone())),
            1 => {}
            times => findings.push(finding(Fault::Doubled, format!("{key} is there {times} times"))),
        }
    }
    findings
}
