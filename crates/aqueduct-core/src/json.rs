//! Records: JSON objects kept as the bytes they arrived in, checked once, read lazily.
//!
//! Why our own scanner: it validates, finds the top-level fields and notices duplicate keys in one pass over
//! the line without building a tree, and gives an index that the record owns. Decision 0002 has the other ways
//! and the measurement. Everything that needs a whole value goes through `serde_json`.

mod raw;
mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

pub use raw::{Entries, Kind, Number, RawJson};
pub use scan::{DEPTH_MAX, JsonError, JsonErrorKind};

/// Where one top-level field stands in the record's bytes. The key's span excludes its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    key_start: u32,
    key_end: u32,
    value_start: u32,
    value_end: u32,
}

/// One JSON object, valid, with each key once, indexed at its top level.
///
/// Cloning is cheap: the bytes are shared.
#[derive(Clone)]
pub struct Record {
    bytes: Bytes,
    fields: Vec<Field>,
}

impl Record {
    /// Checks `bytes` and finds the top-level fields. White space around the object is dropped.
    ///
    /// Of duplicate keys the last value wins and stands at the place of the first. Keys that are written with
    /// needless escapes are rewritten plainly, so that a look-up never misses them.
    ///
    /// # Errors
    ///
    /// [`JsonError`] says what is wrong and at which byte: not UTF-8, not JSON, not an object, nested deeper
    /// than [`DEPTH_MAX`], or longer than 4 GiB.
    ///
    /// # Complexity
    ///
    /// Linear in the length; never recursive.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, JsonError> {
        let bytes = bytes.into();
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| JsonError::new(JsonErrorKind::NotUtf8, error.valid_up_to()))?;
        let scanned = scan::object(text)?;
        if scanned.needs_rewrite {
            return Ok(rewrite(text, &scanned.fields));
        }
        let bytes = if scanned.start == 0 && scanned.end == bytes.len() {
            bytes
        } else {
            bytes.slice(scanned.start..scanned.end)
        };
        Ok(Self { bytes, fields: scanned.fields })
    }

    /// The record as JSON text, ready to be written as one line.
    #[must_use]
    pub fn as_text(&self) -> &str {
        // The constructors admit UTF-8 only, and `Bytes` cannot change under us.
        std::str::from_utf8(&self.bytes).expect("a record is UTF-8 by construction")
    }

    /// The record's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The record's bytes, shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The value of a top-level field, or `None` when the record has no such field.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<RawJson<'_>> {
        let wanted = raw::escaped(key);
        self.position_of(wanted.as_bytes()).map(|index| self.value_at(index))
    }

    /// Like [`Record::get`], with a guess where the field stands: items of one source mostly agree on the
    /// order of their fields, and a right guess costs one comparison. `hint` is set to where it was found.
    #[must_use]
    pub fn get_hinted(&self, escaped_key: &str, hint: &mut usize) -> Option<RawJson<'_>> {
        if self.fields.get(*hint).is_some_and(|field| self.key_bytes(field) == escaped_key.as_bytes()) {
            return Some(self.value_at(*hint));
        }
        let index = self.position_of(escaped_key.as_bytes())?;
        *hint = index;
        Some(self.value_at(index))
    }

    /// The fields in their order, keys as they are written in JSON (without quotes, escapes kept).
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, RawJson<'_>)> {
        self.fields.iter().map(|field| {
            let key = std::str::from_utf8(self.key_bytes(field))
                .expect("a key of a record is UTF-8 by construction");
            (key, self.value_of(field))
        })
    }

    /// The number of top-level fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Tells whether the record is `{}`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn position_of(&self, escaped_key: &[u8]) -> Option<usize> {
        self.fields.iter().position(|field| self.key_bytes(field) == escaped_key)
    }

    fn key_bytes(&self, field: &Field) -> &[u8] {
        &self.bytes[field.key_start as usize..field.key_end as usize]
    }

    fn value_at(&self, index: usize) -> RawJson<'_> {
        self.value_of(&self.fields[index])
    }

    fn value_of(&self, field: &Field) -> RawJson<'_> {
        RawJson::trusted(&self.bytes[field.value_start as usize..field.value_end as usize])
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Record").field(&self.as_text()).finish()
    }
}

impl PartialEq for Record {
    /// Two records are equal when their bytes are.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Record {}

/// Writes each key once, plainly escaped, with its last value.
#[cold]
fn rewrite(text: &str, fields: &[Field]) -> Record {
    let slice = |start: u32, end: u32| &text[start as usize..end as usize];
    let mut kept: Vec<(Cow<'_, str>, &[u8])> = Vec::with_capacity(fields.len());
    let mut places = std::collections::HashMap::with_capacity(fields.len());
    for field in fields {
        let key = raw::unescaped(slice(field.key_start, field.key_end));
        let value = slice(field.value_start, field.value_end).as_bytes();
        let place = *places.entry(key.clone()).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(earlier) => earlier.1 = value,
            None => kept.push((key, value)),
        }
    }
    let mut builder = RecordBuilder::with_capacity(text.len());
    for (key, value) in kept {
        builder.raw(&key, RawJson::trusted(value));
    }
    builder.finish()
}

/// Writes a new record field by field, and its index with it, so that it need not be scanned again.
///
/// The caller gives each key once; [`RecordBuilder::finish`] does not look for duplicates.
#[derive(Debug, Default)]
pub struct RecordBuilder {
    bytes: Vec<u8>,
    fields: Vec<Field>,
}

impl RecordBuilder {
    /// Starts a record that will take about `bytes` bytes and have about `fields` fields.
    #[must_use]
    pub fn with_capacities(bytes: usize, fields: usize) -> Self {
        let mut builder = Self { bytes: Vec::with_capacity(bytes + 2), fields: Vec::with_capacity(fields) };
        builder.bytes.push(b'{');
        builder
    }

    /// Starts a record that will take about `bytes` bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self::with_capacities(bytes, 8)
    }

    /// Adds a field whose value is JSON already.
    pub fn raw(&mut self, key: &str, value: RawJson<'_>) {
        self.raw_escaped(&raw::escaped(key), value);
    }

    /// Adds a field whose key is written as JSON already, as [`Record::fields`] gives it.
    pub fn raw_escaped(&mut self, key: &str, value: RawJson<'_>) {
        self.value(key, |bytes| bytes.extend_from_slice(value.as_bytes()));
    }

    /// Adds a text.
    pub fn text(&mut self, key: &str, value: &str) {
        self.value(&raw::escaped(key), |bytes| raw::write_text(bytes, value));
    }

    /// Adds a text under a key that is written as JSON already, as [`Record::fields`] gives it.
    pub fn text_escaped(&mut self, key: &str, value: &str) {
        self.value(key, |bytes| raw::write_text(bytes, value));
    }

    /// Adds an integer.
    pub fn integer(&mut self, key: &str, value: i64) {
        self.value(&raw::escaped(key), |bytes| raw::write_integer(bytes, value));
    }

    /// Adds a number; JSON has no infinities and no not-a-number, so those become `null`.
    pub fn float(&mut self, key: &str, value: f64) {
        self.value(&raw::escaped(key), |bytes| raw::write_float(bytes, value));
    }

    /// Adds a truth value.
    pub fn boolean(&mut self, key: &str, value: bool) {
        self.value(&raw::escaped(key), |bytes| {
            bytes.extend_from_slice(if value { b"true" } else { b"false" })
        });
    }

    /// Adds `null`.
    pub fn null(&mut self, key: &str) {
        self.value(&raw::escaped(key), |bytes| bytes.extend_from_slice(b"null"));
    }

    /// Adds a field whose value `write` appends. `write` must append exactly one valid JSON value.
    pub(crate) fn value(&mut self, escaped_key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.is_empty() {
            self.bytes.push(b'{');
        }
        if !self.fields.is_empty() {
            self.bytes.push(b',');
        }
        self.bytes.push(b'"');
        let key_start = self.offset();
        self.bytes.extend_from_slice(escaped_key.as_bytes());
        let key_end = self.offset();
        self.bytes.extend_from_slice(b"\":");
        let value_start = self.offset();
        write(&mut self.bytes);
        let value_end = self.offset();
        self.fields.push(Field { key_start, key_end, value_start, value_end });
    }

    /// Closes the record.
    #[must_use]
    pub fn finish(mut self) -> Record {
        if self.bytes.is_empty() {
            self.bytes.push(b'{');
        }
        self.bytes.push(b'}');
        Record { bytes: self.bytes.into(), fields: self.fields }
    }

    fn offset(&self) -> u32 {
        u32::try_from(self.bytes.len())
            .expect("a record stays under 4 GiB: every part of it came from one that did")
    }
}
