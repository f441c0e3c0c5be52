use std::time::Duration;

use aqueduct_core::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a [`Level`](crate::Level) stores under a key: a value as bytes, and what must be known to use it.
///
/// As bytes it is one line of JSON and then the value as it is, so that whoever looks into the store can read it:
///
/// ```text
/// {"at":1763740800000,"held":30000,"edition":7,"tags":["projects"]}
/// {"id":"a-1","score":98.2}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The value; `None` says that it is known that there is none.
    pub value: Option<Bytes>,
    /// When it was stored.
    pub at: Timestamp,
    /// How long from then on it is the answer; `None` for ever.
    pub fresh: Option<Duration>,
    /// How long it is held: longer than it is fresh where a stale answer is better than none. `None` for ever.
    pub held: Option<Duration>,
    /// The edition of its namespace in which the value began to be loaded.
    pub edition: u64,
    /// In which connection to the shared level it was known to be current; 0 where there is no shared level.
    pub session: u64,
    /// What it may be invalidated by.
    pub tags: Vec<Box<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fresh: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<u64>,
    #[serde(default, skip_serializing_if = "is_nought")]
    edition: u64,
    #[serde(default, skip_serializing_if = "is_nought")]
    session: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    tags: Vec<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    absent: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_nought(number: &u64) -> bool {
    *number == 0
}

impl Stored {
    /// Writes it as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let header = Header {
            at: self.at.0,
            fresh: self.fresh.map(millis),
            held: self.held.map(millis),
            edition: self.edition,
            session: self.session,
            tags: self.tags.iter().map(|tag| tag.as_ref().into()).collect(),
            absent: self.value.is_none(),
        };
        let value = self.value.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + value.len());
        // Numbers and strings: there is nothing in it that could not be written.
        serde_json::to_writer(&mut bytes, &header).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(value);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, without copying the value; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let header: Header<'_> = serde_json::from_slice(&bytes[..end]).ok()?;
        Some(Self {
            value: (!header.absent).then(|| bytes.slice(end + 1..)),
            at: Timestamp(header.at),
            fresh: header.fresh.map(Duration::from_millis),
            held: header.held.map(Duration::from_millis),
            edition: header.edition,
            session: header.session,
            tags: header.tags.into_iter().map(|tag| tag.into_owned().into_boxed_str()).collect(),
        })
    }

    /// Gives how much longer it is held; `None` for ever, nought when it has expired. A clock that has gone back gives it
    /// its whole time again and never more.
    #[must_use]
    pub fn held_still(&self, now: Timestamp) -> Option<Duration> {
        self.held.map(|held| held.saturating_sub(self.age(now)))
    }

    /// Gives how much longer it is fresh, in the same way.
    #[must_use]
    pub fn fresh_still(&self, now: Timestamp) -> Option<Duration> {
        self.fresh.map(|fresh| fresh.saturating_sub(self.age(now)))
    }

    fn age(&self, now: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(0))
    }
}

/// What a header without tags takes.
const HEADER_BYTES: usize = 96;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
