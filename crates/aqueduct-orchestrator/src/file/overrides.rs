//! Values from the command line, laid over what the file says before anything is checked.

use toml::de::DeValue;

use super::diagnostics::Diagnostics;
use super::tree::{At, Entry, Member, Raw};
use crate::suggest;

/// A value from the command line for a key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    pub(super) flag: String,
    pub(super) path: String,
    /// None when `--set` was given no `=`.
    pub(super) value: Option<String>,
}

impl Override {
    /// Reads `path=value` of `--set`. The path is `run.workers`, or `sink.results.table` with the name of a
    /// stage or a sink in the middle. The value is TOML where it can be read as such, else a text.
    ///
    /// A `path` without a value is kept and refused with the other errors when the file is read.
    #[must_use]
    pub fn set(assignment: &str) -> Self {
        let (path, value) = match assignment.split_once('=') {
            Some((path, value)) => (path, Some(value.to_owned())),
            None => (assignment, None),
        };
        Self { flag: format!("--set {assignment}"), path: path.trim().to_owned(), value }
    }

    /// A flag of its own, such as `--data-dir`, for the key at `path`. The value is a text.
    #[must_use]
    pub fn flag(flag: &str, path: &str, value: &str) -> Self {
        Self { flag: format!("{flag} {value}"), path: path.to_owned(), value: Some(toml_text(value)) }
    }
}

/// A text as TOML writes it, whatever is in it.
fn toml_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// Lays the overrides over the tree, in order; the last of two for one key wins.
pub(super) fn apply(root: &mut Vec<Member>, overrides: &[Override], diagnostics: &mut Diagnostics<'_>) {
    for (flag, change) in overrides.iter().enumerate() {
        let at = At::Flag(flag);
        let Some(written) = &change.value else {
            let hint = "it is written path=value, such as run.workers=4".to_owned();
            diagnostics.error(&at, "a value is missing", Some(hint));
            continue;
        };
        let segments: Vec<&str> = change.path.split('.').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            diagnostics.error(
                &at,
                "the path has an empty part",
                Some("it looks like run.workers=4".to_owned()),
            );
            continue;
        }
        let value = match DeValue::parse(written) {
            Ok(value) => match Entry::from_flag(value.get_ref(), flag) {
                // A bare date is a text that happens to look like one.
                Entry { value: Raw::Date, at } => Entry { at, value: Raw::Text(written.clone()) },
                entry => entry,
            },
            Err(_) => Entry { at: At::Flag(flag), value: Raw::Text(written.clone()) },
        };
        place(root, &segments, value, flag, diagnostics);
    }
}

fn place(
    members: &mut Vec<Member>,
    segments: &[&str],
    value: Entry,
    flag: usize,
    diagnostics: &mut Diagnostics<'_>,
) {
    let Some((first, rest)) = segments.split_first() else { return };
    let index = match members.iter().position(|member| member.key == *first) {
        Some(index) => index,
        None => {
            let at = At::Flag(flag);
            let entry = Entry { at: at.clone(), value: Raw::Table(Vec::new()) };
            members.push(Member { key: (*first).to_owned(), key_at: at, entry });
            members.len() - 1
        }
    };
    let member = &mut members[index];
    if rest.is_empty() {
        member.entry = value;
        return;
    }
    match &mut member.entry.value {
        Raw::Table(inner) => {
            // A single [sink] may be called by its name, as in a list of them.
            let named = *first == "sink"
                && rest.len() > 1
                && name_of(inner).unwrap_or(super::SINK_NAME_DEFAULT) == rest[0];
            place(inner, if named { &rest[1..] } else { rest }, value, flag, diagnostics);
        }
        Raw::List(list) => {
            let names: Vec<String> = list
                .iter()
                .filter_map(|entry| match &entry.value {
                    Raw::Table(inner) => name_of(inner).map(str::to_owned),
                    _ => None,
                })
                .collect();
            let chosen = list.iter_mut().find_map(|entry| match &mut entry.value {
                Raw::Table(inner) if name_of(inner) == Some(rest[0]) => Some(inner),
                _ => None,
            });
            match chosen {
                Some(inner) if rest.len() > 1 => place(inner, &rest[1..], value, flag, diagnostics),
                Some(_) => diagnostics.error(
                    &At::Flag(flag),
                    format!("{first}.{} needs a key behind it", rest[0]),
                    Some(format!("such as {first}.{}.type", rest[0])),
                ),
                None => {
                    let hint = match suggest::nearest(rest[0], names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None if names.is_empty() => format!("no {first} has a name"),
                        None => format!("there are {}", names.join(", ")),
                    };
                    diagnostics.error(
                        &At::Flag(flag),
                        format!("there is no {first} {:?}", rest[0]),
                        Some(hint),
                    );
                }
            }
        }
        other => {
            let described = other.described();
            diagnostics.error(&At::Flag(flag), format!("{first} is {described} and has no keys"), None);
        }
    }
}

fn name_of(members: &[Member]) -> Option<&str> {
    members.iter().find(|member| member.key == "name").and_then(|member| match &member.entry.value {
        Raw::Text(name) => Some(name.as_str()),
        _ => None,
    })
}
