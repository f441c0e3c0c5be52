use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::json::{JsonError, Record};

/// Which source of a pipeline an item came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// Which partition of a source, such as one file of a glob. The ledger gives the number at first sight and
/// keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionId(pub u32);

/// Names an item for good: where it was read, and which child of it it is.
///
/// Ids sort in input order, as values and as text. They depend on the place in the input alone, never on the
/// configuration or the folder, and they are never hashes: a random key cost SQLite four fifths of its insert
/// rate (140,000 against 700,000 rows a second).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    source: SourceId,
    partition: PartitionId,
    offset: u64,
    children: Vec<u32>,
}

impl ItemId {
    /// The id of what stands at `offset` in a partition; a file counts bytes.
    #[must_use]
    pub fn new(source: SourceId, partition: PartitionId, offset: u64) -> Self {
        Self { source, partition, offset, children: Vec::new() }
    }

    /// The id of this item's child number `ordinal`, counted from 0.
    #[must_use]
    pub fn child(&self, ordinal: u32) -> Self {
        let mut child = self.clone();
        child.children.push(ordinal);
        child
    }

    /// The partition the item was read from.
    #[must_use]
    pub fn partition(&self) -> PartitionId {
        self.partition
    }

    /// The place in the partition.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends the id's text to `text` without allocating another.
    pub fn write_to(&self, text: &mut String) {
        write_ordered(text, u64::from(self.source.0));
        write_ordered(text, u64::from(self.partition.0));
        write_ordered(text, self.offset);
        for child in &self.children {
            write_ordered(text, u64::from(*child));
        }
    }
}

/// Writes a number so that texts sort as the numbers do: a letter for the count of digits, then the digits.
///
/// After Elias 1975, "Universal codeword sets and representations of the integers", whose idea (length first)
/// this applies to decimal digits so that a person can read them.
fn write_ordered(text: &mut String, number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let length = u8::try_from(digits.len() - at).unwrap_or(20);
    text.push(char::from(b'a' + length - 1));
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(24);
        self.write_to(&mut text);
        f.write_str(&text)
    }
}

/// A text that is not an item id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an item id; one looks like a0a0d1234")]
pub struct ItemIdError {
    text: String,
}

impl FromStr for ItemId {
    type Err = ItemIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ItemIdError { text: text.chars().take(64).collect() };
        let mut numbers = Vec::with_capacity(4);
        let mut rest = text;
        while let Some(letter) = rest.bytes().next() {
            let length = usize::from(letter.checked_sub(b'a').filter(|n| *n < 20).ok_or_else(wrong)?) + 1;
            let digits = rest.get(1..=length).ok_or_else(wrong)?;
            let plain =
                digits.bytes().all(|byte| byte.is_ascii_digit()) && (length == 1 || !digits.starts_with('0'));
            if !plain {
                return Err(wrong());
            }
            numbers.push(digits.parse::<u64>().map_err(|_| wrong())?);
            rest = &rest[length + 1..];
        }
        let small = |number: u64| u32::try_from(number).map_err(|_| wrong());
        match numbers.as_slice() {
            [source, partition, offset, children @ ..] => Ok(Self {
                source: SourceId(small(*source)?),
                partition: PartitionId(small(*partition)?),
                offset: *offset,
                children: children.iter().map(|child| small(*child)).collect::<Result<_, _>>()?,
            }),
            _ => Err(wrong()),
        }
    }
}

/// A Rust value in flight, written as JSON only when somebody needs the bytes.
///
/// Implemented for everything that serde can write; nobody implements it by hand.
pub trait TypedPayload: Any + Send + Sync {
    /// Appends the value as JSON.
    ///
    /// # Errors
    ///
    /// What serde says, such as a map whose keys are not texts.
    fn write_json(&self, bytes: &mut Vec<u8>) -> Result<(), serde_json::Error>;

    /// Gives the value for a downcast.
    fn as_any(&self) -> &dyn Any;
}

impl<T: serde::Serialize + Any + Send + Sync> TypedPayload for T {
    fn write_json(&self, bytes: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(bytes, self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What an item carries.
pub enum Payload {
    /// JSON, as it was read or as a stage wrote it.
    Record(Record),
    /// A Rust value from a typed stage.
    Typed(Box<dyn TypedPayload>),
}

/// A payload that cannot be written as a JSON object.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Serde refused the value.
    #[error("the stage's value cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The value is JSON, but not an object.
    #[error("the stage's value is not a JSON object")]
    Shape(#[source] JsonError),
}

impl crate::Classified for PayloadError {
    fn class(&self) -> crate::ErrorClass {
        crate::ErrorClass::Permanent
    }
}

impl Payload {
    /// Gives the payload as a record, written now if it was a Rust value.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] when a Rust value cannot be written as a JSON object.
    pub fn record(&self) -> Result<Cow<'_, Record>, PayloadError> {
        match self {
            Self::Record(record) => Ok(Cow::Borrowed(record)),
            Self::Typed(value) => {
                let mut bytes = Vec::with_capacity(128);
                value.write_json(&mut bytes).map_err(PayloadError::Encode)?;
                Record::parse(bytes).map(Cow::Owned).map_err(PayloadError::Shape)
            }
        }
    }

    /// Appends the payload as JSON text.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Encode`] when a Rust value cannot be written; `bytes` is then as it was.
    pub fn write_json(&self, bytes: &mut Vec<u8>) -> Result<(), PayloadError> {
        match self {
            Self::Record(record) => bytes.extend_from_slice(record.as_bytes()),
            Self::Typed(value) => {
                let before = bytes.len();
                if let Err(error) = value.write_json(bytes) {
                    bytes.truncate(before);
                    return Err(PayloadError::Encode(error));
                }
            }
        }
        Ok(())
    }

    /// The Rust value, if it is of this type.
    #[must_use]
    pub fn typed<T: 'static>(&self) -> Option<&T> {
        match self {
            Self::Record(_) => None,
            Self::Typed(value) => (**value).as_any().downcast_ref(),
        }
    }
}

impl From<Record> for Payload {
    fn from(record: Record) -> Self {
        Self::Record(record)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(record) => record.fmt(f),
            Self::Typed(_) => {
                let mut bytes = Vec::new();
                f.write_str("Typed(")?;
                match self.write_json(&mut bytes) {
                    Ok(()) => f.write_str(&String::from_utf8_lossy(&bytes))?,
                    Err(error) => error.fmt(f)?,
                }
                f.write_char(')')
            }
        }
    }
}

/// One datum in flight.
#[derive(Debug)]
pub struct Item {
    /// Its name for good.
    pub id: ItemId,
    /// What it carries.
    pub payload: Payload,
}
