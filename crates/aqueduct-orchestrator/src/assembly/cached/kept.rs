use std::error::Error;
use std::sync::Arc;

use aqueduct_cache::Value;
use aqueduct_core::{Record, RecordBuilder};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What the inner stage has made of an item: the fields that it has written, and those that it has left out. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Kept(Arc<Change>);

#[derive(Debug)]
struct Change {
    set: Record,
    left_out: Vec<String>,
}

/// How it is written below memory: `{"set":{"score":7}}`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    set: &'a RawValue,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl Kept {
    /// The item stays as it is.
    pub(super) fn nothing() -> Self {
        Self(Arc::new(Change { set: RecordBuilder::with_capacity(2).finish(), left_out: Vec::new() }))
    }

    /// What has become of `before`. With `fields` it is these, even where an item had the same in them: another one may
    /// not. Without, it is what differs.
    pub(super) fn between(before: &Record, after: &Record, fields: Option<&[String]>) -> Self {
        let mut set = RecordBuilder::with_capacity(64);
        let mut left_out = Vec::new();
        match fields {
            Some(fields) => {
                for field in fields {
                    match after.get(field) {
                        Some(value) => set.raw(field, value),
                        None => left_out.push(field.clone()),
                    }
                }
            }
            None => {
                let same = |key: &str, text: &str| {
                    before.fields().any(|(other, value)| other == key && value.as_text() == text)
                };
                for (key, value) in after.fields().filter(|(key, value)| !same(key, value.as_text())) {
                    set.raw_escaped(key, value);
                }
                let is_gone = |key: &str| !after.fields().any(|(other, _)| other == key);
                left_out
                    .extend(before.fields().filter(|(key, _)| is_gone(key)).map(|(key, _)| key.to_owned()));
            }
        }
        Self(Arc::new(Change { set: set.finish(), left_out }))
    }

    /// An item with it: its own fields, and behind them those that were written.
    pub(super) fn laid_over(&self, record: &Record) -> Record {
        let Change { set, left_out } = &*self.0;
        let mut builder = RecordBuilder::with_capacity(record.as_bytes().len() + set.as_bytes().len());
        let stays = |key: &str| {
            !left_out.iter().any(|other| other == key) && !set.fields().any(|(other, _)| other == key)
        };
        for (key, value) in record.fields().filter(|(key, _)| stays(key)) {
            builder.raw_escaped(key, value);
        }
        for (key, value) in set.fields() {
            builder.raw_escaped(key, value);
        }
        builder.finish()
    }
}

impl Value for Kept {
    fn encode(&self) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        let set: &RawValue = serde_json::from_str(self.0.set.as_text())?;
        Ok(serde_json::to_vec(&Written { set, left_out: self.0.left_out.clone() })?.into())
    }

    fn decode(bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let written: Written<'_> = serde_json::from_slice(&bytes)?;
        let set = Record::parse(Bytes::copy_from_slice(written.set.get().as_bytes()))?;
        Ok(Self(Arc::new(Change { set, left_out: written.left_out })))
    }
}
