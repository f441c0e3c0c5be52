//! How a record is written, and how it is known that it is still the one that was written.
//!
//! redb checks its pages only after a crash and when it is told to. So each record ends with a checksum over its table,
//! its key and itself: a value that was changed, cut or came to stand under another key is never taken for a message.
//! CRC-32 (IEEE 802.3) finds every burst of up to 32 bits; the workspace has it, and at these lengths CRC-32C would be
//! no better at what is asked here.

use aqueduct_core::Timestamp;
use bytes::Bytes;

use crate::contract::{Dead, DeadCause};
use crate::log::{Body, Group, GroupId, Head};
use crate::message::{MessageId, Priority};

/// The table that a record belongs to; a part of its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Meta = 1,
    Head,
    Body,
    Dead,
    Remembered,
    Group,
}

/// Why a record is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad(pub(super) String);

/// What is known of the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Greater than the number of any message that was ever inserted.
    pub(super) next_id: u64,
    /// How often the file was opened.
    pub(super) opening: u32,
    /// Grows with each commit.
    pub(super) sequence: u64,
    /// How many records each table has.
    pub(super) heads: u64,
    pub(super) bodies: u64,
    pub(super) dead: u64,
    pub(super) remembered: u64,
    pub(super) groups: u64,
}

/// The version of everything in this file of code. A file of another one is refused.
pub(super) const FORMAT: u32 = 1;

/// What says that a redb database is a file of queues.
const APPLICATION: &[u8; 14] = b"aqueduct-queue";

/// The length of the checksum at the end.
const SUM: usize = 4;

/// What stands in a body record whose message was half lost: the length of a header list that cannot be.
const LOST: u64 = u64::MAX;

pub(super) fn meta(meta: &Meta) -> Vec<u8> {
    let mut out = Writer::new(96);
    out.0.extend_from_slice(APPLICATION);
    out.u32(FORMAT);
    out.u64(meta.next_id);
    out.u32(meta.opening);
    for count in [meta.sequence, meta.heads, meta.bodies, meta.dead, meta.remembered, meta.groups] {
        out.u64(count);
    }
    out.sealed(Kind::Meta, &[])
}

/// What a meta record says: of this format, or of another one, whose number it is.
pub(super) fn read_meta(record: &[u8]) -> Result<Result<Meta, u32>, Bad> {
    let mut from = Reader::open(Kind::Meta, &[], record)?;
    if from.take(APPLICATION.len())? != APPLICATION {
        return Err(Bad("it is of another application".into()));
    }
    let format = from.u32()?;
    if format != FORMAT {
        return Ok(Err(format));
    }
    let meta = Meta {
        next_id: from.u64()?,
        opening: from.u32()?,
        sequence: from.u64()?,
        heads: from.u64()?,
        bodies: from.u64()?,
        dead: from.u64()?,
        remembered: from.u64()?,
        groups: from.u64()?,
    };
    from.end()?;
    Ok(Ok(meta))
}

pub(super) fn head(head: &Head) -> Vec<u8> {
    let mut out = Writer::new(64);
    out.u32(head.group.0);
    out.0.push(head.priority.level());
    out.u32(head.attempts);
    out.time(head.published);
    out.0.push(u8::from(head.due.is_some()));
    out.time(head.due.unwrap_or_default());
    out.u32(head.bytes);
    out.optional(head.key.as_deref());
    out.optional(head.tenant.as_deref());
    out.sealed(Kind::Head, &head.id.0.to_le_bytes())
}

pub(super) fn read_head(id: u64, record: &[u8]) -> Result<Head, Bad> {
    let mut from = Reader::open(Kind::Head, &id.to_le_bytes(), record)?;
    let group = GroupId(from.u32()?);
    let level = usize::from(from.u8()?);
    let priority = *Priority::ALL.get(level).ok_or_else(|| Bad(format!("it has the priority {level}")))?;
    let attempts = from.u32()?;
    let published = from.time()?;
    let has_due = from.u8()? != 0;
    let due = from.time()?;
    let head = Head {
        id: MessageId(id),
        group,
        priority,
        attempts,
        published,
        due: has_due.then_some(due),
        bytes: from.u32()?,
        key: from.optional()?,
        tenant: from.optional()?,
    };
    from.end()?;
    Ok(head)
}

pub(super) fn body(id: MessageId, body: &Body) -> Vec<u8> {
    let mut out = Writer::new(body.body.len() + 64);
    out.u64(body.headers.len() as u64);
    for (name, value) in &body.headers {
        out.text(name);
        out.text(value);
    }
    out.optional(body.topic.as_deref());
    out.0.extend_from_slice(&body.body);
    out.sealed(Kind::Body, &id.0.to_le_bytes())
}

/// Stands where a body was that could not be read.
pub(super) fn lost_body(id: MessageId, reason: &str) -> Vec<u8> {
    let mut out = Writer::new(64);
    out.u64(LOST);
    out.text(reason);
    out.sealed(Kind::Body, &id.0.to_le_bytes())
}

/// Takes a record apart. What it gives is a part of `record` and copies nothing of the body.
pub(super) fn read_body(id: MessageId, record: &Bytes) -> Result<Body, Bad> {
    let mut from = Reader::open(Kind::Body, &id.0.to_le_bytes(), record)?;
    let count = from.u64()?;
    if count == LOST {
        return Err(Bad(from.text()?.into()));
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((from.text()?, from.text()?));
    }
    let topic = from.optional()?;
    let start = record.len() - SUM - from.0.len();
    Ok(Body { body: record.slice(start..record.len() - SUM), topic, headers })
}

pub(super) fn dead(id: MessageId, dead: &Dead) -> Vec<u8> {
    let mut out = Writer::new(32 + dead.reason.len());
    out.time(dead.at);
    out.0.push(match dead.cause {
        DeadCause::Attempts => 0,
        DeadCause::Refused => 1,
        DeadCause::Corrupt => 2,
    });
    out.text(&dead.reason);
    out.sealed(Kind::Dead, &id.0.to_le_bytes())
}

pub(super) fn read_dead(id: u64, record: &[u8]) -> Result<Dead, Bad> {
    let mut from = Reader::open(Kind::Dead, &id.to_le_bytes(), record)?;
    let at = from.time()?;
    let cause = match from.u8()? {
        0 => DeadCause::Attempts,
        1 => DeadCause::Refused,
        2 => DeadCause::Corrupt,
        other => return Err(Bad(format!("it has the cause {other}"))),
    };
    let dead = Dead { at, cause, reason: from.text()? };
    from.end()?;
    Ok(dead)
}

/// The key under which a queue remembers a dedup id.
pub(super) fn remembered_key(queue: &str, dedup_id: &str) -> Vec<u8> {
    let mut out = Writer::new(queue.len() + dedup_id.len() + 4);
    out.text(queue);
    out.0.extend_from_slice(dedup_id.as_bytes());
    out.0
}

pub(super) fn remembered(key: &[u8], id: MessageId, until: Timestamp) -> Vec<u8> {
    let mut out = Writer::new(24);
    out.u64(id.0);
    out.time(until);
    out.sealed(Kind::Remembered, key)
}

/// The queue and the dedup id, the message, and until when.
pub(super) fn read_remembered(
    key: &[u8],
    record: &[u8],
) -> Result<(Box<str>, Box<str>, MessageId, Timestamp), Bad> {
    let mut from = Reader::open(Kind::Remembered, key, record)?;
    let (id, until) = (MessageId(from.u64()?), from.time()?);
    from.end()?;
    let mut key = Reader(key);
    let queue = key.text()?;
    let dedup_id = std::str::from_utf8(key.0).map_err(|_| Bad("its dedup id is no text".into()))?;
    Ok((queue, dedup_id.into(), id, until))
}

pub(super) fn group(group: &Group) -> Vec<u8> {
    let mut out = Writer::new(64);
    out.text(&group.queue);
    out.text(&group.name);
    out.text(&group.pattern);
    out.0.push(u8::from(group.paused));
    out.sealed(Kind::Group, &group.id.0.to_le_bytes())
}

pub(super) fn read_group(id: u32, record: &[u8]) -> Result<Group, Bad> {
    let mut from = Reader::open(Kind::Group, &id.to_le_bytes(), record)?;
    let group = Group {
        id: GroupId(id),
        queue: from.text()?,
        name: from.text()?,
        pattern: from.text()?,
        paused: from.u8()? != 0,
    };
    from.end()?;
    Ok(group)
}

// --- writing and reading ---

struct Writer(Vec<u8>);

impl Writer {
    fn new(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes + SUM))
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.0.extend_from_slice(&time.0.to_le_bytes());
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more come (LEB128).
    #[expect(clippy::cast_possible_truncation, reason = "seven bits fit into a byte")]
    fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.0.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn sealed(mut self, kind: Kind, key: &[u8]) -> Vec<u8> {
        let sum = checksum(kind, key, &self.0);
        self.u32(sum);
        self.0
    }
}

fn checksum(kind: Kind, key: &[u8], record: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&[kind as u8]);
    sum.update(key);
    sum.update(record);
    sum.finalize()
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Checks a record.
    fn open(kind: Kind, key: &[u8], record: &'a [u8]) -> Result<Self, Bad> {
        let Some((content, sum)) = record.split_last_chunk::<SUM>() else {
            return Err(Bad(format!("it has {} bytes", record.len())));
        };
        if checksum(kind, key, content) != u32::from_le_bytes(*sum) {
            return Err(Bad("its checksum is another one".into()));
        }
        Ok(Self(content))
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Bad> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(|| Bad("it is too short".into()))?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| Bad("it is too short".into()))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Bad> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Bad> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Bad> {
        self.fixed().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, Bad> {
        self.fixed().map(i64::from_le_bytes).map(Timestamp)
    }

    fn length(&mut self) -> Result<usize, Bad> {
        let mut length = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.u8()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(Bad("it has a length without an end".into()))
    }

    fn text(&mut self) -> Result<Box<str>, Bad> {
        let bytes = self.length()?;
        let text =
            std::str::from_utf8(self.take(bytes)?).map_err(|_| Bad("it has a text that is none".into()))?;
        Ok(text.into())
    }

    fn optional(&mut self) -> Result<Option<Box<str>>, Bad> {
        if self.u8()? == 0 { Ok(None) } else { self.text().map(Some) }
    }

    fn end(self) -> Result<(), Bad> {
        if self.0.is_empty() { Ok(()) } else { Err(Bad(format!("it has {} bytes too many", self.0.len()))) }
    }
}
