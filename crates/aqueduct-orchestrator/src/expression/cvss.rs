//! The base score of a CVSS vector, version 3.0 or 3.1.
//!
//! After FIRST, "Common Vulnerability Scoring System version 3.1: Specification Document", revision 1, 2019:
//! the equations of section 7.1, the metric values of section 7.4, and the rounding of appendix A. Version 3.0
//! has the same base equations and values; its specification (section 8.1) rounds up to one decimal without
//! saying how to do it in binary floating point, so both use appendix A of 3.1, which was written to give what
//! 3.0 meant on every machine.
//!
//! Temporal and environmental metrics are read and checked, and leave the base score alone: they describe a
//! moment and a site, and a stored score should not depend on either.

use crate::error::CvssError;

/// A metric of version 3 and the values it takes.
struct Metric {
    name: &'static str,
    values: &'static [&'static str],
}

const fn metric(name: &'static str, values: &'static [&'static str]) -> Metric {
    Metric { name, values }
}

/// Base metrics (section 2), all required, then temporal (section 3) and environmental (section 4) ones.
const METRICS: [Metric; 22] = [
    metric("AV", &["N", "A", "L", "P"]),
    metric("AC", &["L", "H"]),
    metric("PR", &["N", "L", "H"]),
    metric("UI", &["N", "R"]),
    metric("S", &["U", "C"]),
    metric("C", &["H", "L", "N"]),
    metric("I", &["H", "L", "N"]),
    metric("A", &["H", "L", "N"]),
    metric("E", &["X", "H", "F", "P", "U"]),
    metric("RL", &["X", "U", "W", "T", "O"]),
    metric("RC", &["X", "C", "R", "U"]),
    metric("CR", &["X", "H", "M", "L"]),
    metric("IR", &["X", "H", "M", "L"]),
    metric("AR", &["X", "H", "M", "L"]),
    metric("MAV", &["X", "N", "A", "L", "P"]),
    metric("MAC", &["X", "L", "H"]),
    metric("MPR", &["X", "N", "L", "H"]),
    metric("MUI", &["X", "N", "R"]),
    metric("MS", &["X", "U", "C"]),
    metric("MC", &["X", "N", "L", "H"]),
    metric("MI", &["X", "N", "L", "H"]),
    metric("MA", &["X", "N", "L", "H"]),
];

/// How many of [`METRICS`] are base metrics.
const BASE: usize = 8;

/// Gives the base score of a vector, 0.0 to 10.0 with one decimal. Metrics may stand in any order.
///
/// # Errors
///
/// [`CvssError`] says what is wrong with the vector and names the metric.
///
/// # Complexity
///
/// Linear in the length of the vector; allocates nothing on success.
pub fn cvss_base_score(vector: &str) -> Result<f64, CvssError> {
    let rest =
        vector.strip_prefix("CVSS:").ok_or_else(|| CvssError::NotAVector { text: shortened(vector) })?;
    let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if version != "3.0" && version != "3.1" {
        return Err(CvssError::Version { version: shortened(version) });
    }
    let mut found: [Option<&str>; METRICS.len()] = [None; METRICS.len()];
    // An empty rest lacks every metric; let the check below say so.
    for part in rest.split('/').filter(|_| !rest.is_empty()) {
        let (name, value) =
            part.split_once(':').ok_or_else(|| CvssError::NotAMetric { part: shortened(part) })?;
        let index = METRICS
            .iter()
            .position(|metric| metric.name == name)
            .ok_or_else(|| CvssError::UnknownMetric { metric: shortened(name) })?;
        let Metric { name, values } = METRICS[index];
        if !values.contains(&value) {
            return Err(CvssError::UnknownValue {
                metric: name,
                value: shortened(value),
                allowed: values.join(", "),
            });
        }
        if found[index].replace(value).is_some() {
            return Err(CvssError::Duplicate { metric: name });
        }
    }
    let mut base = [""; BASE];
    for (index, value) in base.iter_mut().enumerate() {
        *value = found[index].ok_or(CvssError::Missing { metric: METRICS[index].name })?;
    }
    Ok(base_score(base))
}

/// Section 7.1, with the numbers of section 7.4.
fn base_score([av, ac, pr, ui, scope, c, i, a]: [&str; BASE]) -> f64 {
    let changed = scope == "C";
    let attack_vector = match av {
        "N" => 0.85,
        "A" => 0.62,
        "L" => 0.55,
        _ => 0.2,
    };
    let attack_complexity = if ac == "L" { 0.77 } else { 0.44 };
    let privileges = match (pr, changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        (_, false) => 0.27,
        (_, true) => 0.5,
    };
    let interaction = if ui == "N" { 0.85 } else { 0.62 };
    let loss = |value| match value {
        "H" => 0.56,
        "L" => 0.22,
        _ => 0.0,
    };

    let sub_score: f64 = 1.0 - (1.0 - loss(c)) * (1.0 - loss(i)) * (1.0 - loss(a));
    let impact = if changed {
        7.52 * (sub_score - 0.029) - 3.25 * (sub_score - 0.02).powi(15)
    } else {
        6.42 * sub_score
    };
    if impact <= 0.0 {
        return 0.0;
    }
    let exploitability = 8.22 * attack_vector * attack_complexity * privileges * interaction;
    let sum = impact + exploitability;
    round_up(if changed { 1.08 * sum } else { sum }.min(10.0))
}

/// The smallest number with one decimal that is not below `score`, by the integer steps of appendix A, which
/// keep the noise of binary fractions from lifting a score by a tenth.
fn round_up(score: f64) -> f64 {
    let scaled = (score * 100_000.0).round();
    if scaled % 10_000.0 == 0.0 { scaled / 100_000.0 } else { ((scaled / 10_000.0).floor() + 1.0) / 10.0 }
}

/// Enough of a wrong text to recognise it by.
fn shortened(text: &str) -> String {
    const LETTERS_MAX: usize = 80;
    match text.char_indices().nth(LETTERS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
