//! The pipeline file as a JSON Schema, made from the tables that its reader uses.
//!
//! For editors: Taplo, which Even Better TOML of VS Code is built on, and the IDEs of JetBrains. Taplo promises
//! draft 4 and ignores whatever stands beside a `$ref` (taplo: `site/site/configuration/developing-schemas.md`), so
//! the schema has no references and only keywords that mean the same in draft 4 and in draft 7, which it names:
//! `enum` for one value and not `const`, `oneOf` for types and not `if`. It checks less than the reader, which also
//! compiles expressions and knows what belongs together, and never refuses a file that the reader takes.

use serde_json::{Map, Value, json};

use crate::file::keys::{self, Absent, Key, Kind, Section};

/// Writes the schema of the pipeline file.
#[must_use]
pub fn json_schema() -> String {
    let sections = keys::sections();
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Aqueduct pipeline",
        "description": "Moves items from a source through stages into sinks, each exactly once.",
    });
    if let (Some(schema), Value::Object(file)) = (schema.as_object_mut(), table(&sections, "the file")) {
        schema.extend(file);
    }
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

/// The schema of the tables under a heading: one form for each type, if there are types.
fn table(sections: &[Section], heading: &str) -> Value {
    let under = || sections.iter().filter(|section| section.heading == heading);
    let common: Vec<&Key> =
        under().filter(|section| section.of_type.is_none()).flat_map(|section| section.keys).collect();
    let forms: Vec<Value> = under()
        .filter_map(|section| section.of_type.map(|of_type| (of_type, section.keys)))
        .map(|(of_type, own)| {
            let all: Vec<&Key> = common.iter().copied().chain(own).collect();
            form(sections, heading, &all, Some(of_type))
        })
        .collect();
    if forms.is_empty() { form(sections, heading, &common, None) } else { json!({ "oneOf": forms }) }
}

/// A table with these keys and no others.
fn form(sections: &[Section], heading: &str, keys: &[&Key], of_type: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    for key in keys {
        let value = match of_type {
            Some(of_type) if key.name == "type" => json!({ "enum": [of_type] }),
            _ => value(sections, heading, key),
        };
        properties.insert(key.name.to_owned(), described(value, key));
        if matches!(key.absent, Absent::Required) {
            required.push(key.name);
        }
    }
    let mut form = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let Some(form) = form.as_object_mut() {
        // Draft 4 wants at least one.
        if !required.is_empty() {
            form.insert("required".to_owned(), required.into());
        }
        if let Some(of_type) = of_type {
            form.insert("title".to_owned(), of_type.into());
        }
    }
    form
}

/// What a key takes.
fn value(sections: &[Section], heading: &str, key: &Key) -> Value {
    match key.kind {
        Kind::Text | Kind::Field | Kind::Expression => json!({ "type": "string", "minLength": 1 }),
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$" }),
        Kind::Expressions => json!({
            "type": "object",
            "additionalProperties": { "type": "string", "minLength": 1 },
        }),
        Kind::List => json!({
            "type": "array",
            "items": { "type": "string", "minLength": 1 },
            "minItems": 1,
            "uniqueItems": true,
        }),
        Kind::Words => json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 }),
        Kind::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Integers => {
            json!({ "type": "object", "additionalProperties": { "type": "integer", "minimum": 0 } })
        }
        Kind::Character => json!({ "type": "string", "pattern": "^[\\x00-\\x7f]$" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Number(least, _) if least == f64::MIN => json!({ "type": "number" }),
        Kind::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Kind::Section => nested(sections, heading, key),
    }
}

/// A section under a key: its heading says whether it is a list. A single sink need not be one.
fn nested(sections: &[Section], heading: &str, key: &Key) -> Value {
    let list = format!("[[{}]]", key.name);
    let parent = heading.trim_matches(['[', ']']);
    // Its own before that of the file: both the file and a backend have a cache.
    let single = [format!("[{parent}.{}]", key.name), format!("[{}]", key.name)];
    if sections.iter().any(|section| section.heading == list) {
        let each = table(sections, &list);
        let many = json!({ "type": "array", "items": each });
        return if key.name == keys::SINK.name { json!({ "anyOf": [each, many] }) } else { many };
    }
    let heading = single.iter().find(|name| sections.iter().any(|section| section.heading == **name));
    heading.map_or_else(|| json!({ "type": "object" }), |heading| table(sections, heading))
}

/// Adds what the reference says of the key.
fn described(mut value: Value, key: &Key) -> Value {
    let mut meaning = key.meaning.to_owned();
    let default = match key.absent {
        Absent::Required => None,
        Absent::Words(words) => {
            meaning.push_str(". Without it: ");
            meaning.push_str(words);
            None
        }
        Absent::Text(text) => Some(json!(text)),
        Absent::Integer(integer) => Some(json!(integer)),
        Absent::Number(number) => Some(json!(number)),
    };
    if let Some(value) = value.as_object_mut() {
        value.insert("description".to_owned(), meaning.into());
        if let Some(default) = default {
            value.insert("default".to_owned(), default);
        }
    }
    value
}
