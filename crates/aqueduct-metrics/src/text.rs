use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::{Distribution, FamilySnapshot, Scale, Snapshot, Value};

/// The media type of [`Snapshot::to_text`], for the `Content-Type` of an answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Snapshot {
    /// Writes the figures in the Prometheus text format, version 0.0.4.
    ///
    /// Families come sorted by name, with their help and type; families without a series are left out. A
    /// histogram is written with the bounds of its scale, cumulated.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for family in self.families.iter().filter(|family| !family.series.is_empty()) {
            // Writing to a string cannot fail.
            let _ = write_family(&mut text, family);
        }
        text
    }
}

fn write_family(text: &mut String, family: &FamilySnapshot) -> fmt::Result {
    let name = family.definition.name;
    writeln!(text, "# HELP {name} {}", escape_help(family.definition.help))?;
    writeln!(text, "# TYPE {name} {}", family.kind)?;
    for series in &family.series {
        let pairs = family.definition.labels.iter().zip(&series.values);
        let labels: Vec<_> =
            pairs.map(|(label, value)| format!("{label}=\"{}\"", escape_value(value))).collect();
        let labels = labels.join(",");
        match &series.value {
            Value::Counter(value) => writeln!(text, "{name}{} {value}", Braced(&labels))?,
            Value::Gauge(value) => writeln!(text, "{name}{} {}", Braced(&labels), Number(*value))?,
            Value::Histogram(seen) => {
                write_histogram(text, name, &labels, seen, family.scale.unwrap_or(Scale::COUNT))?;
            }
        }
    }
    Ok(())
}

fn write_histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    seen: &Distribution,
    scale: Scale,
) -> fmt::Result {
    let comma = if labels.is_empty() { "" } else { "," };
    let unit = scale.steps_per_unit as f64;
    for bound in scale.bounds {
        let (le, count) = (Number(*bound as f64 / unit), seen.at_most(*bound));
        writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {count}")?;
    }
    writeln!(text, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", seen.count())?;
    writeln!(text, "{name}_sum{} {}", Braced(labels), Number(seen.sum() as f64 / unit))?;
    writeln!(text, "{name}_count{} {}", Braced(labels), seen.count())
}

/// Labels between braces, and nothing when there are none.
struct Braced<'a>(&'a str);

/// A number as the format spells it; Rust's own spelling differs at the infinities.
struct Number(f64);

impl fmt::Display for Braced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{{{}}}", self.0) }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number => write!(f, "{number}"),
        }
    }
}

/// In a help line the backslash and the line feed are special.
fn escape_help(help: &str) -> Cow<'_, str> {
    match help.contains(['\\', '\n']) {
        true => help.replace('\\', r"\\").replace('\n', r"\n").into(),
        false => help.into(),
    }
}

/// In a label value the quote is special too.
fn escape_value(value: &str) -> Cow<'_, str> {
    match value.contains(['\\', '\n', '"']) {
        true => value.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"").into(),
        false => value.into(),
    }
}
