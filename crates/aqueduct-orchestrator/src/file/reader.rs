//! Reads typed values out of the tree, by the table of keys, and notes what is wrong with them.

use std::sync::Arc;

use super::diagnostics::Diagnostics;
use super::keys::{Absent, Key, Kind, Section};
use super::references::{self, Resolver};
use super::tree::{At, Entry, Member, Raw};
use crate::expression::{Expression, Type};
use crate::redacted::Redacted;
use crate::suggest;
use crate::template::{self, Piece, Template};

/// One table of the file.
#[derive(Clone, Copy)]
pub(super) struct Table<'t> {
    pub(super) members: &'t [Member],
    /// Its heading, where a missing key is reported; none for the file itself.
    pub(super) at: Option<&'t At>,
    /// How it is called in messages.
    pub(super) called: &'t str,
}

impl<'t> Table<'t> {
    pub(super) fn entry(&self, key: &Key) -> Option<&'t Entry> {
        self.members.iter().find(|member| member.key == key.name).map(|member| &member.entry)
    }
}

/// What reading needs: where errors go, and where references lead.
pub(super) struct Reader<'r, 's> {
    pub(super) diagnostics: &'r mut Diagnostics<'s>,
    pub(super) resolver: &'r Resolver<'r>,
}

impl Reader<'_, '_> {
    // Keys

    /// Notes every key that none of `admitted` has. `others` are sections of other types, for the hint.
    pub(super) fn check_keys(&mut self, table: Table<'_>, admitted: &[Section], others: &[Section]) {
        let names = || admitted.iter().flat_map(|section| section.keys).map(|key| key.name);
        for member in table.members {
            if names().any(|name| name == member.key) {
                continue;
            }
            let elsewhere =
                others.iter().find(|section| section.keys.iter().any(|key| key.name == member.key));
            let hint = match (suggest::nearest(&member.key, names()), elsewhere) {
                (Some(near), _) => format!("did you mean {near:?}?"),
                (None, Some(Section { of_type: Some(other), .. })) => format!("it belongs to type {other:?}"),
                _ => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("{} has no key {:?}", table.called, member.key);
            self.diagnostics.error(&member.key_at, message, Some(hint));
        }
    }

    /// Notes that a required key is missing.
    pub(super) fn missing(&mut self, table: Table<'_>, key: &Key) {
        let message = format!("{} lacks the key {:?}", table.called, key.name);
        let hint = Some(match key.absent {
            Absent::Words(words) => words.to_owned(),
            _ => key.meaning.to_owned(),
        });
        match table.at {
            Some(at) => self.diagnostics.error(at, message, hint),
            None => self.diagnostics.file_error(message, hint),
        }
    }

    /// The entry of a key; a missing one is noted if the key is required.
    fn entry<'t>(&mut self, table: Table<'t>, key: &Key) -> Option<&'t Entry> {
        let entry = table.entry(key);
        if entry.is_none() && matches!(key.absent, Absent::Required) {
            self.missing(table, key);
        }
        entry
    }

    fn wrong_type(&mut self, key: &Key, entry: &Entry, takes: &str) {
        let message = format!("{} takes {takes}, found {}", key.name, entry.value.described());
        self.diagnostics.error(&entry.at, message, None);
    }

    // Texts

    /// The text as it is written, of a key that takes no references.
    fn written<'t>(&mut self, table: Table<'t>, key: &Key, takes: &str) -> Option<(&'t str, &'t At)> {
        let entry = self.entry(table, key)?;
        match &entry.value {
            Raw::Text(text) => Some((text, &entry.at)),
            _ => {
                self.wrong_type(key, entry, takes);
                None
            }
        }
    }

    /// A text that is not empty, with its references resolved.
    pub(super) fn text(&mut self, table: Table<'_>, key: &Key) -> Option<Redacted> {
        let (text, at) = self.written(table, key, "a text")?;
        self.resolved(key, text, at)
    }

    fn resolved(&mut self, key: &Key, text: &str, at: &At) -> Option<Redacted> {
        match self.resolver.resolve(text) {
            Ok(text) if text.expose().is_empty() => {
                self.diagnostics.error(at, format!("{} is empty", key.name), Some(key.meaning.to_owned()));
                None
            }
            Ok(text) if text.expose().contains('\0') => {
                self.diagnostics.error(at, format!("{} holds a NUL character", key.name), None);
                None
            }
            Ok(text) => Some(text),
            Err((message, hint)) => {
                self.diagnostics.error(at, message, hint);
                None
            }
        }
    }

    /// A name: letters, digits, `.`, `_` and `-`.
    pub(super) fn name(&mut self, table: Table<'_>, key: &Key) -> Option<String> {
        let (name, at) = self.written(table, key, "a name")?;
        if !is_name(name) {
            let hint = Some(NAME_HINT.to_owned());
            self.diagnostics.error(at, format!("{:?} is not a name", shortened(name)), hint);
            return None;
        }
        Some(name.to_owned())
    }

    /// A field name, or the default that the table of keys has.
    pub(super) fn field(&mut self, table: Table<'_>, key: &Key) -> Option<String> {
        if table.entry(key).is_none() {
            return match key.absent {
                Absent::Text(text) => Some(text.to_owned()),
                _ => None,
            };
        }
        let (field, at) = self.written(table, key, "a field name")?;
        if field.is_empty() {
            self.diagnostics.error(at, format!("{} is empty", key.name), Some(key.meaning.to_owned()));
            return None;
        }
        Some(field.to_owned())
    }

    /// One of the words of the key, or the default that the table of keys has.
    pub(super) fn choice(&mut self, table: Table<'_>, key: &Key) -> Option<&'static str> {
        let Kind::Choice(words) = key.kind else { return None };
        if table.entry(key).is_none()
            && let Absent::Text(word) = key.absent
        {
            return words.iter().copied().find(|known| *known == word);
        }
        let takes = format!("one of {}", words.join(", "));
        let (word, at) = self.written(table, key, &takes)?;
        let found = words.iter().copied().find(|known| *known == word);
        if found.is_none() {
            let hint = match suggest::nearest(word, words.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there {} {}", if words.len() == 1 { "is" } else { "are" }, words.join(", ")),
            };
            self.diagnostics.error(at, format!("{} cannot be {:?}", key.name, shortened(word)), Some(hint));
        }
        found
    }

    /// A list of different texts that are not empty.
    pub(super) fn list(&mut self, table: Table<'_>, key: &Key) -> Option<Vec<Redacted>> {
        let entry = self.entry(table, key)?;
        let Raw::List(elements) = &entry.value else {
            self.wrong_type(key, entry, "a list of texts");
            return None;
        };
        let mut list: Vec<Redacted> = Vec::with_capacity(elements.len());
        for element in elements {
            let Raw::Text(text) = &element.value else {
                self.wrong_type(key, element, "a list of texts");
                continue;
            };
            let Some(text) = self.resolved(key, text, &element.at) else { continue };
            if list.iter().any(|known| known.expose() == text.expose()) {
                self.diagnostics.error(
                    &element.at,
                    format!("{:?} stands twice in {}", text.written(), key.name),
                    None,
                );
                continue;
            }
            list.push(text);
        }
        if elements.is_empty() {
            self.diagnostics.error(
                &entry.at,
                format!("{} is an empty list", key.name),
                Some(key.meaning.to_owned()),
            );
        }
        (list.len() == elements.len() && !list.is_empty()).then_some(list)
    }

    /// A program and its arguments: texts of which only the first must not be empty.
    pub(super) fn words(&mut self, table: Table<'_>, key: &Key) -> Option<Vec<Redacted>> {
        let entry = self.entry(table, key)?;
        let Raw::List(elements) = &entry.value else {
            let message = format!("{} takes a list of texts, found {}", key.name, entry.value.described());
            let hint = match &entry.value {
                Raw::Text(text) if !text.trim().is_empty() => {
                    let words: Vec<String> =
                        text.split_whitespace().map(|word| format!("{word:?}")).collect();
                    Some(format!("it is written {} = [{}]", key.name, words.join(", ")))
                }
                _ => None,
            };
            self.diagnostics.error(&entry.at, message, hint);
            return None;
        };
        let mut words = Vec::with_capacity(elements.len());
        for element in elements {
            let Raw::Text(text) = &element.value else {
                self.wrong_type(key, element, "a list of texts");
                continue;
            };
            if text.is_empty() && !words.is_empty() {
                words.push(Redacted::plain(""));
            } else if let Some(word) = self.resolved(key, text, &element.at) {
                words.push(word);
            }
        }
        if elements.is_empty() {
            let hint = Some(key.meaning.to_owned());
            self.diagnostics.error(&entry.at, format!("{} is an empty list", key.name), hint);
        }
        (words.len() == elements.len() && !words.is_empty()).then_some(words)
    }

    /// A table of names and their texts, with their references resolved; empty when it is absent.
    pub(super) fn texts(&mut self, table: Table<'_>, key: &Key) -> Option<Vec<(String, Redacted)>> {
        let Some(entry) = table.entry(key) else { return Some(Vec::new()) };
        let Raw::Table(members) = &entry.value else {
            self.wrong_type(key, entry, "a table of names and texts");
            return None;
        };
        let mut texts = Vec::with_capacity(members.len());
        for member in members {
            // What no system takes as the name of a variable.
            if member.key.is_empty() || member.key.contains(['=', '\0']) {
                let message = format!("{:?} is not a name", shortened(&member.key));
                self.diagnostics.error(&member.key_at, message, None);
                continue;
            }
            match &member.entry.value {
                Raw::Text(text) if text.is_empty() => texts.push((member.key.clone(), Redacted::plain(""))),
                Raw::Text(text) => {
                    if let Some(text) = self.resolved(key, text, &member.entry.at) {
                        texts.push((member.key.clone(), text));
                    }
                }
                _ => self.wrong_type(key, &member.entry, "a table of names and texts"),
            }
        }
        (texts.len() == members.len()).then_some(texts)
    }

    /// A table of names and texts, in the order of the file, each with its place. References stand for nothing in
    /// it.
    pub(super) fn plain_texts<'t>(
        &mut self,
        table: Table<'t>,
        key: &Key,
    ) -> Option<Vec<(&'t str, &'t str, &'t At)>> {
        let Some(entry) = self.entry(table, key) else {
            return (!matches!(key.absent, Absent::Required)).then(Vec::new);
        };
        let Raw::Table(members) = &entry.value else {
            self.wrong_type(key, entry, "a table of names and texts");
            return None;
        };
        let mut texts = Vec::with_capacity(members.len());
        for member in members {
            match &member.entry.value {
                _ if member.key.is_empty() => {
                    self.diagnostics.error(&member.key_at, "a field needs a name", None);
                }
                Raw::Text(text) => texts.push((member.key.as_str(), text.as_str(), &member.entry.at)),
                other => {
                    let message = format!("{} takes a text, found {}", member.key, other.described());
                    self.diagnostics.error(&member.entry.at, message, None);
                }
            }
        }
        if members.is_empty() {
            self.diagnostics.error(
                &entry.at,
                format!("{} is an empty table", key.name),
                Some(key.meaning.to_owned()),
            );
        }
        (texts.len() == members.len() && !texts.is_empty()).then_some(texts)
    }

    /// A table of names and their integers, in the order of the file; empty when it is absent.
    pub(super) fn integers(&mut self, table: Table<'_>, key: &Key) -> Option<Vec<(String, u64)>> {
        let Some(entry) = table.entry(key) else { return Some(Vec::new()) };
        let Raw::Table(members) = &entry.value else {
            self.wrong_type(key, entry, "a table of names and integers");
            return None;
        };
        let mut integers = Vec::with_capacity(members.len());
        for member in members {
            match &member.entry.value {
                _ if !is_name(&member.key) => {
                    let message = format!("{:?} is not a name", shortened(&member.key));
                    self.diagnostics.error(&member.key_at, message, Some(NAME_HINT.to_owned()));
                }
                Raw::Integer(Some(integer)) if *integer >= 0 => {
                    integers.push((member.key.clone(), integer.unsigned_abs()));
                }
                other => {
                    let message =
                        format!("{} takes an integer from 0, found {}", member.key, other.described());
                    self.diagnostics.error(&member.entry.at, message, None);
                }
            }
        }
        (integers.len() == members.len()).then_some(integers)
    }

    /// A text with places for items.
    pub(super) fn template(&mut self, table: Table<'_>, key: &Key) -> Option<Template> {
        let (text, at) = self.written(table, key, "a text")?;
        self.template_of(text, at)
    }

    /// The same of a text that stands in a table of its own.
    pub(super) fn template_of(&mut self, text: &str, at: &At) -> Option<Template> {
        let pieces = match template::pieces(text) {
            Ok(pieces) => pieces,
            Err(fault) => {
                let inside = inside(self.diagnostics.source(), at, fault.offset);
                self.diagnostics.error(inside.as_ref().unwrap_or(at), fault.message, None);
                return None;
            }
        };
        let part = |reader: &mut Self, piece: &Piece<'_>| match piece {
            Piece::Text(text) => match reader.resolver.resolve(text) {
                Ok(text) => Some(Ok(text)),
                Err((message, hint)) => {
                    reader.diagnostics.error(at, message, hint);
                    None
                }
            },
            Piece::Place(source, offset) => {
                reader.compiled_at(source, at, *offset).map(|place| Err(Arc::new(place)))
            }
        };
        let parts: Vec<Option<_>> = pieces.iter().map(|piece| part(self, piece)).collect();
        parts.into_iter().collect::<Option<Vec<_>>>().map(Template::new)
    }

    /// One ASCII character, or the default that the table of keys has.
    pub(super) fn character(&mut self, table: Table<'_>, key: &Key) -> Option<char> {
        let (text, at) = match (table.entry(key), key.absent) {
            (None, Absent::Text(text)) => return text.chars().next(),
            _ => self.written(table, key, "a text of one character")?,
        };
        let mut letters = text.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii() => Some(letter),
            _ => {
                let message =
                    format!("{} is {:?}, and must be one ASCII character", key.name, shortened(text));
                let hint = (text == "tab").then(|| "a tab is written \"\\t\"".to_owned());
                self.diagnostics.error(at, message, hint);
                None
            }
        }
    }

    /// True or false, or the default that the table of keys has.
    pub(super) fn boolean(&mut self, table: Table<'_>, key: &Key) -> Option<bool> {
        let Some(entry) = table.entry(key) else { return Some(matches!(key.absent, Absent::Text("true"))) };
        match &entry.value {
            Raw::Bool(value) => Some(*value),
            _ => {
                self.wrong_type(key, entry, "true or false");
                None
            }
        }
    }

    // Numbers

    /// A number within the range of the key, or its default.
    pub(super) fn number(&mut self, table: Table<'_>, key: &Key) -> Option<f64> {
        if table.entry(key).is_some() {
            return self.written_number(table, key);
        }
        match key.absent {
            Absent::Number(value) => Some(value),
            _ => None,
        }
    }

    /// An integer within the range of the key, if it is there.
    pub(super) fn written_integer(&mut self, table: Table<'_>, key: &Key) -> Option<u64> {
        let Kind::Integer(least, most) = key.kind else { return None };
        let entry = table.entry(key)?;
        let Raw::Integer(integer) = &entry.value else {
            self.wrong_type(key, entry, "an integer");
            return None;
        };
        match integer
            .and_then(|integer| u64::try_from(integer).ok())
            .filter(|value| (least..=most).contains(value))
        {
            Some(value) => Some(value),
            None => {
                let found = integer.map_or("an integer beyond 64 bits".to_owned(), |value| value.to_string());
                let message = format!("{} is {found}, and must be from {least} to {most}", key.name);
                self.diagnostics.error(&entry.at, message, None);
                None
            }
        }
    }

    /// An integer within the range of the key, or its default.
    pub(super) fn integer(&mut self, table: Table<'_>, key: &Key) -> Option<u64> {
        if table.entry(key).is_some() {
            return self.written_integer(table, key);
        }
        match key.absent {
            Absent::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// A number within the range of the key, if it is there.
    #[expect(clippy::cast_precision_loss, reason = "the nearest double of an integer is what a number means")]
    pub(super) fn written_number(&mut self, table: Table<'_>, key: &Key) -> Option<f64> {
        let Kind::Number(least, most) = key.kind else { return None };
        let entry = table.entry(key)?;
        let number = match &entry.value {
            Raw::Float(number) => *number,
            Raw::Integer(Some(integer)) => *integer as f64,
            _ => {
                self.wrong_type(key, entry, "a number");
                return None;
            }
        };
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let message = if least == f64::MIN {
            format!("{} is {number}, and must be a finite number", key.name)
        } else {
            format!("{} is {number}, and must be from {least} to {most}", key.name)
        };
        self.diagnostics.error(&entry.at, message, None);
        None
    }

    // Expressions

    /// A condition: an expression that is not known to give anything but true or false.
    pub(super) fn condition(&mut self, table: Table<'_>, key: &Key) -> Option<Expression> {
        let (source, at) = self.written(table, key, "an expression in quotes")?;
        let expression = self.compiled(source, at)?;
        match expression.result_type() {
            None | Some(Type::Bool) => Some(expression),
            Some(other) => {
                let message =
                    format!("{} must give true or false, and this gives {}", key.name, other.described());
                self.diagnostics.error(at, message, None);
                None
            }
        }
    }

    /// An expression that may give anything.
    pub(super) fn expression(&mut self, table: Table<'_>, key: &Key) -> Option<Expression> {
        let (source, at) = self.written(table, key, "an expression in quotes")?;
        self.compiled(source, at)
    }

    /// A table of field names and their expressions, in the order of the file.
    pub(super) fn expressions(&mut self, table: Table<'_>, key: &Key) -> Option<Vec<(String, Expression)>> {
        let Some(entry) = table.entry(key) else { return Some(Vec::new()) };
        let Raw::Table(members) = &entry.value else {
            self.wrong_type(key, entry, "a table of fields and expressions");
            return None;
        };
        let mut expressions = Vec::with_capacity(members.len());
        for member in members {
            if member.key.is_empty() {
                self.diagnostics.error(&member.key_at, "a field needs a name", None);
                continue;
            }
            match &member.entry.value {
                Raw::Text(source) => {
                    if let Some(expression) = self.compiled(source, &member.entry.at) {
                        expressions.push((member.key.clone(), expression));
                    }
                }
                other => {
                    let message =
                        format!("{} takes an expression in quotes, found {}", member.key, other.described());
                    let hint = match other {
                        Raw::Integer(Some(value)) => Some(format!("\"{value}\" is one")),
                        Raw::Float(value) => Some(format!("\"{value:?}\" is one")),
                        Raw::Bool(value) => Some(format!("\"{value}\" is one")),
                        _ => None,
                    };
                    self.diagnostics.error(&member.entry.at, message, hint);
                }
            }
        }
        (expressions.len() == members.len()).then_some(expressions)
    }

    fn compiled(&mut self, source: &str, at: &At) -> Option<Expression> {
        self.compiled_at(source, at, 0)
    }

    /// An expression that begins at a byte of the text at `at`.
    fn compiled_at(&mut self, source: &str, at: &At, start: usize) -> Option<Expression> {
        if references::has_reference(source) {
            let hint = "a value from the command line is set with --set".to_owned();
            self.diagnostics.error(at, "an expression takes no references", Some(hint));
            return None;
        }
        match Expression::compile(source) {
            Ok(expression) => Some(expression),
            Err(error) => {
                match inside(self.diagnostics.source(), at, start + error.offset()) {
                    Some(at) => self.diagnostics.error(&at, error.message(), None),
                    None => {
                        let letter = 1 + source[..error.offset()].chars().count();
                        let hint = format!("at letter {letter} of the expression");
                        self.diagnostics.error(at, error.message(), Some(hint));
                    }
                }
                None
            }
        }
    }
}

/// The place of a byte of a text inside the file, if the text stands there as it is: TOML escapes and line ends
/// that it rewrites move what follows them.
fn inside(source: &str, at: &At, offset: usize) -> Option<At> {
    let At::Bytes(range) = at else { return None };
    let token = source.get(range.clone())?;
    let quotes = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quotes| token.starts_with(quotes))?;
    if token.contains('\r') || (quotes.starts_with('"') && token.contains('\\')) {
        return None;
    }
    let line_end = usize::from(quotes.len() == 3 && token[3..].starts_with('\n'));
    let start = range.start + quotes.len() + line_end + offset;
    let width = source.get(start..range.end)?.chars().next().map_or(0, char::len_utf8);
    Some(At::Bytes(start..start + width))
}

const NAME_HINT: &str =
    "a name has 1 to 128 letters, digits, dots, underscores and dashes, and no dot in front";

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

/// Enough of a wrong text to recognise it by.
pub(super) fn shortened(text: &str) -> String {
    const LETTERS_MAX: usize = 60;
    match text.char_indices().nth(LETTERS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
