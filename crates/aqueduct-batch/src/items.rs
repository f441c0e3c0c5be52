//! The values of an iterator as a source.

use std::fmt::Write as _;
use std::sync::Arc;

use aqueduct_core::{PartitionId, Position, Record};
use aqueduct_stream::{Chunk, ChunkContent, Decode, DecodeError, Decoded, Source, SourceError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The name of the one partition, and of the source in messages.
const NAME: &str = "items";

/// The version of the position's text.
const FORMAT: u32 = 1;

/// Reads what iterators give. Each run asks for a new one and passes over what is committed, so it must give the same
/// again; the item in front of the position tells whether it does.
pub(crate) struct Items<I> {
    begin: Box<dyn Fn() -> I + Send>,
    reading: Option<Reading<I>>,
}

struct Reading<I> {
    partition: PartitionId,
    items: I,
    next: u64,
}

/// How far the items are read.
#[derive(Serialize, Deserialize)]
struct Place {
    format: u32,
    /// How many were read.
    next: u64,
    /// The digest of the last of them, where it is known.
    last: Option<String>,
}

impl<I> Items<I> {
    pub(crate) fn new(begin: impl Fn() -> I + Send + 'static) -> Self {
        Self { begin: Box::new(begin), reading: None }
    }
}

impl<I, T, E> Source for Items<I>
where
    I: Iterator<Item = Result<T, E>> + Send,
    T: Serialize,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn describe(&self) -> String {
        NAME.to_owned()
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(vec![NAME.to_owned()])
    }

    fn open(
        &mut self,
        _index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        let mut items = (self.begin)();
        let mut next = 0;
        if let Some(place) = position.map(Place::read).transpose()? {
            let mut last = None;
            while next < place.next {
                last = Some(items.next().ok_or_else(|| changed(&place, "they are fewer now"))?);
                next += 1;
            }
            if let (Some(last), Some(expected)) = (last, &place.last)
                && digest(&text(last)?) != *expected
            {
                return Err(changed(&place, "the last of them is another one now"));
            }
        }
        self.reading = Some(Reading { partition: id, items, next });
        Ok(())
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let mut bytes = Vec::new();
        let mut items = 0;
        while items < items_max {
            let Some(item) = reading.items.next() else { break };
            bytes.extend_from_slice(&text(item)?);
            bytes.push(b'\n');
            items += 1;
        }
        if items == 0 {
            return Ok(None);
        }
        let offset = reading.next;
        reading.next += items as u64;
        Ok(Some(Chunk {
            partition: reading.partition,
            offset,
            end: reading.next,
            line: offset + 1,
            items,
            weight: bytes.len(),
            content: ChunkContent::Bytes { bytes: bytes.into(), unterminated: false },
        }))
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(ItemsDecoder)
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }
}

#[derive(Debug)]
struct ItemsDecoder;

impl Decode for ItemsDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        let mut line = chunk.line;
        lines(chunk)
            .map(|original| {
                let json = |source| DecodeError::Json { line, cut_off: false, source };
                let record = Record::parse(original.clone()).map_err(json);
                let decoded = Decoded { offset: line - 1, line, original, record };
                line += 1;
                decoded
            })
            .collect()
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let json = |source| DecodeError::Json { line: 1, cut_off: false, source };
        Record::parse(original.clone()).map_err(json)
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        let next = offset.unwrap_or(chunk.end);
        let before = next.checked_sub(chunk.offset + 1).and_then(|at| usize::try_from(at).ok());
        let last = before.and_then(|at| lines(chunk).nth(at)).map(|last| digest(&last));
        Place { format: FORMAT, next, last }.write()
    }
}

impl Place {
    fn read(position: &Position) -> Result<Self, SourceError> {
        let unreadable = || SourceError::Position { text: position.as_str().chars().take(200).collect() };
        let read: Self = serde_json::from_str(position.as_str()).map_err(|_| unreadable())?;
        if read.format == FORMAT { Ok(read) } else { Err(unreadable()) }
    }

    fn write(&self) -> Position {
        Position::new(serde_json::to_string(self).expect("a struct of numbers and texts is always JSON"))
    }
}

/// The items of a chunk. JSON has no line ends of its own.
fn lines(chunk: &Chunk) -> impl Iterator<Item = Bytes> + '_ {
    let bytes = match &chunk.content {
        ChunkContent::Bytes { bytes, .. } => bytes.clone(),
        ChunkContent::Oversize { .. } => Bytes::new(),
    };
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest.split_to(end);
        let _ = rest.split_to(1);
        Some(line)
    })
}

/// An item as JSON.
fn text<T, E>(item: Result<T, E>) -> Result<Vec<u8>, SourceError>
where
    T: Serialize,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let item = item.map_err(|error| failed("the next item cannot be had", error.into()))?;
    serde_json::to_vec(&item).map_err(|error| failed("an item cannot be written as JSON", error.into()))
}

fn failed(message: &str, source: Box<dyn std::error::Error + Send + Sync>) -> SourceError {
    SourceError::Remote {
        source_name: NAME.to_owned(),
        message: message.to_owned(),
        class: aqueduct_core::ErrorClass::Permanent,
        source: Some(source),
    }
}

fn changed(place: &Place, how: &str) -> SourceError {
    SourceError::Remote {
        source_name: NAME.to_owned(),
        message: format!(
            "{} were read before, and {how}; give the same items again, or start over under another name",
            place.next
        ),
        class: aqueduct_core::ErrorClass::Invalid,
        source: None,
    }
}

/// The first half of the SHA-256: enough against accidents, which is all it is for.
fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let mut text = String::with_capacity(32);
    for byte in &hash[..16] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
