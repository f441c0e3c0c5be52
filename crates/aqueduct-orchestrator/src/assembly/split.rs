use std::borrow::Cow;

use aqueduct_core::json::{Kind, RawJson};
use aqueduct_core::{Item, Payload, Record, RecordBuilder};
use aqueduct_stream::{Emission, Outcome, Stage, StageError};

/// The field of an element that is no object, when none is named.
const VALUE: &str = "value";

/// Makes an item of each element of a list.
pub(super) struct Split {
    /// The list.
    pub(super) field: String,
    /// Where the element goes; without it an object becomes the item itself.
    pub(super) name: Option<String>,
    /// What each new item gets from the old one.
    pub(super) keep: Vec<String>,
    pub(super) items_max: usize,
}

impl Stage for Split {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        let Some(list) = record.get(&self.field) else {
            return Err(StageError::permanent(format!("there is no field {:?} to split", self.field)));
        };
        if list.kind() != Kind::Array {
            let found = described(list.kind());
            return Err(StageError::permanent(format!("{:?} is {found}, not a list", self.field)));
        }
        // Counted before anything is built, so that a list without bound costs no memory.
        let elements = list.entries().count();
        if elements > self.items_max {
            return Err(StageError::permanent(format!(
                "{:?} has {elements} elements; the limit is {} (stage key items_max)",
                self.field, self.items_max
            )));
        }
        if elements == 0 {
            return Ok(Outcome::Skip(Cow::Borrowed("the list is empty")));
        }
        let made = list.entries().map(|(_, element)| self.made_of(&record, element));
        let emissions = made.map(|record| Ok(Emission::Next(Payload::Record(record?))));
        Ok(Outcome::Many(emissions.collect::<Result<_, StageError>>()?))
    }
}

impl Split {
    fn made_of(&self, parent: &Record, element: RawJson<'_>) -> Result<Record, StageError> {
        let own = match &self.name {
            None if element.kind() == Kind::Object => {
                // Parsed again for its index; it also settles duplicate keys.
                let own = Record::parse(element.as_bytes().to_vec());
                own.map_err(|error| {
                    StageError::permanent("an element cannot be an item of its own").with_source(error)
                })?
            }
            name => {
                let mut own = RecordBuilder::with_capacity(element.as_bytes().len() + 16);
                own.raw(name.as_deref().unwrap_or(VALUE), element);
                own.finish()
            }
        };
        if self.keep.is_empty() {
            return Ok(own);
        }
        let mut builder = RecordBuilder::with_capacity(own.as_bytes().len() + 32 * self.keep.len());
        for key in self.keep.iter().filter(|key| own.get(key).is_none()) {
            if let Some(value) = parent.get(key) {
                builder.raw(key, value);
            }
        }
        for (key, value) in own.fields() {
            builder.raw_escaped(key, value);
        }
        Ok(builder.finish())
    }
}

fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Boolean => "true or false",
        Kind::Number => "a number",
        Kind::Text => "a text",
        Kind::Array => "a list",
        Kind::Object => "an object",
    }
}
