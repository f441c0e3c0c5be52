//! The reference of all configuration, made from the tables that the readers use.

use std::fmt::Write as _;

use crate::file::keys::{self, Absent, Key, Kind};
use crate::settings::{Takes, VARIABLES};

/// Writes the reference of the pipeline file and of the environment as Markdown.
///
/// The readers of both use the same tables, so a key that is not in it is not read.
#[must_use]
pub fn config_markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Generated from the tables that the reader of the pipeline file and of the environment uses.\n\n\
         A flag wins over the environment, the environment over the file, the file over the default. `--set` takes\n\
         `path=value`, such as `--set run.workers=4`, or `--set sink.results.table=t` with the name of a stage or a\n\
         sink in the middle. Unknown keys are errors. In paths, tables, keys, columns and kept fields `${env:NAME}`\n\
         and `${file:PATH}` are replaced by a variable and by the content of a file; `${env:NAME:-TEXT}` is TEXT where the\n\
         variable is not set; a plain `${` is written `$${`.\n\
         Errors and reports show the reference and never its value. Relative paths start at the folder of the\n\
         pipeline file.\n\n\
         Stages run in the order of the file. Without `branch`, stages and sinks take what no `route` has sent away.\n\
         The `path` of a source is one file, or a pattern that stands for many. Worked out with examples:\n\
         [csv, patterns, compressed files](../guides/sources-and-files.md),\n\
         [a route with branches](../guides/survive-anything.md#send-items-different-ways),\n\
         [programs](../guides/exec.md), [expressions](../guides/expressions.md) and\n\
         [cases](../guides/test-a-pipeline.md).\n",
    );
    for section in keys::sections() {
        if section.heading == keys::OF_HEADING && section.of_type.is_some() {
            // Said once below its common keys: they are those of the stages.
            continue;
        }
        let heading = match (section.heading, section.of_type) {
            ("the file", _) => "The file".to_owned(),
            (heading, Some(kind)) => format!("`{heading}` with `type = \"{kind}\"`"),
            (heading, None) => format!("`{heading}`"),
        };
        let _ = write!(text, "\n## {heading}\n\n");
        if section.keys.is_empty() {
            text.push_str("No further keys.\n");
            continue;
        }
        text.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for Key { name, kind, absent, meaning } in section.keys {
            let _ = writeln!(text, "| `{name}` | {} | {} | {meaning} |", takes(*kind), held(*absent));
        }
        if section.heading == keys::OF_HEADING {
            text.push_str(
                "\nThe other keys are those that a stage of this type has by itself, above, but for `keep` and `journal`.\n",
            );
        }
    }
    text.push_str(
        "\n## Environment\n\n\
         An empty variable counts as unset. A wrong one is an error even when a flag covers it.\n\n\
         | variable | takes | default | key it covers | meaning |\n|---|---|---|---|---|\n",
    );
    for variable in VARIABLES {
        let takes = match variable.takes {
            Takes::Integer(least, most) => format!("integer, {least} to {most}"),
            Takes::Nodes => "integer, 1 to 1024, or addresses, `redis://`, with commas between".to_owned(),
            Takes::Url(schemes) => {
                format!(
                    "address, {}",
                    schemes.iter().map(|scheme| format!("`{scheme}://`")).collect::<Vec<_>>().join(", ")
                )
            }
        };
        let key = variable.key.map_or("none".to_owned(), |key| format!("`{key}`"));
        let note =
            if variable.used { "" } else { ". Read and checked; the part that uses it does not exist yet" };
        let _ = writeln!(
            text,
            "| `{}` | {takes} | {} | {key} | {}{note} |",
            variable.name, variable.default, variable.meaning
        );
    }
    text
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::Field => "field name".to_owned(),
        Kind::Expression => "expression".to_owned(),
        Kind::Expressions => "table of expressions".to_owned(),
        Kind::List | Kind::Words => "list of texts".to_owned(),
        Kind::Texts => "table of texts".to_owned(),
        Kind::Integers => "table of integers".to_owned(),
        Kind::Character => "one ASCII character".to_owned(),
        Kind::Boolean => "true or false".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Integer(least, most) => format!("integer, {least} to {most}"),
        Kind::Number(least, _) if least == f64::MIN => "number".to_owned(),
        Kind::Number(least, most) => format!("number, {least} to {most}"),
        Kind::Section => "section".to_owned(),
    }
}

fn held(absent: Absent) -> String {
    match absent {
        Absent::Required => "required".to_owned(),
        Absent::Words(words) => words.to_owned(),
        Absent::Text(text) => format!("`{text}`"),
        Absent::Integer(value) => value.to_string(),
        Absent::Number(value) => value.to_string(),
    }
}
