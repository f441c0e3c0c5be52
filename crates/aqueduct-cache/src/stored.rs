use std::fmt;
use std::io::Write;
use std::time::Duration;

use aqueduct_core::Timestamp;
use bytes::{Buf, Bytes};

/// What a [`Level`](crate::Level) stores under a key: a value as bytes, and what must be known to use it.
///
/// As bytes it is a header and then the value as it is, so that whoever looks into the store can read it:
///
/// ```text
/// aqueduct1 at=1763740800000 fresh=30000 held=3600000 edition=7 session=2 tag=8:projects tag=3:b-2
/// {"id":"a-1","score":98.2}
/// ```
///
/// The header is one line, unless a tag has several. Times are in milliseconds, the date since 1970; before each tag is how
/// many bytes it has. A field that says nothing is left out: for ever, an edition or a session of 0. Where it is known that
/// there is no value, ` absent` ends the header and nothing follows.
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

impl Stored {
    /// Writes it as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let value = self.value.as_deref().unwrap_or_default();
        let tags: usize = self.tags.iter().map(|tag| TAG_BYTES + tag.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + tags + value.len());
        bytes.extend_from_slice(MARK);
        write_field(&mut bytes, AT, self.at.0);
        for (name, duration) in [(FRESH, self.fresh), (HELD, self.held)] {
            if let Some(duration) = duration {
                write_field(&mut bytes, name, millis(duration));
            }
        }
        for (name, number) in [(EDITION, self.edition), (SESSION, self.session)] {
            if number != 0 {
                write_field(&mut bytes, name, number);
            }
        }
        for tag in &self.tags {
            write_field(&mut bytes, TAG, tag.len());
            bytes.push(b':');
            bytes.extend_from_slice(tag.as_bytes());
        }
        if self.value.is_none() {
            bytes.extend_from_slice(ABSENT);
        }
        bytes.push(b'\n');
        bytes.extend_from_slice(value);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote, without copying the value; `None` for anything else.
    #[must_use]
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let mut header = Header { rest: &bytes };
        header.skip(MARK).then_some(())?;
        let at = header.skip(AT).then(|| header.signed())??;
        let fresh = header.number(FRESH)?;
        let held = header.number(HELD)?;
        let edition = header.number(EDITION)?;
        let session = header.number(SESSION)?;
        let mut tags = Vec::new();
        while let Some(bytes) = header.number(TAG)? {
            tags.push(header.text(bytes)?);
        }
        let absent = header.skip(ABSENT);
        header.skip(b"\n").then_some(())?;
        let value_bytes = header.rest.len();
        // A nought is not written, and nothing is there where it is said so.
        if edition == Some(0) || session == Some(0) || (absent && value_bytes > 0) {
            return None;
        }
        // Unlike a slice, what is left after an advance has not to be counted as a second owner.
        bytes.advance(bytes.len() - value_bytes);
        Some(Self {
            value: (!absent).then_some(bytes),
            at: Timestamp(at),
            fresh: fresh.map(Duration::from_millis),
            held: held.map(Duration::from_millis),
            edition: edition.unwrap_or(0),
            session: session.unwrap_or(0),
            tags,
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

/// Says whose entry it is, and in which form: another form has another number.
const MARK: &[u8] = b"aqueduct1";
const AT: &[u8] = b" at=";
const FRESH: &[u8] = b" fresh=";
const HELD: &[u8] = b" held=";
const EDITION: &[u8] = b" edition=";
const SESSION: &[u8] = b" session=";
const TAG: &[u8] = b" tag=";
const ABSENT: &[u8] = b" absent";

/// What a header takes whose numbers are not longer than usual.
const HEADER_BYTES: usize = 96;

/// What a tag takes beside its text.
const TAG_BYTES: usize = 12;

/// What is left of a header. There is one way to write each, so that what was not written here is not read either.
struct Header<'a> {
    rest: &'a [u8],
}

impl Header<'_> {
    /// Goes past `text` where it comes next. Inlined, since a text that is known is compared in one or two words.
    #[inline]
    fn skip(&mut self, text: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The number in the field of this name, `Some(None)` where another one comes next.
    #[expect(clippy::option_option, reason = "what is not there is another thing than what is wrong")]
    #[inline]
    fn number(&mut self, name: &[u8]) -> Option<Option<u64>> {
        if self.skip(name) { self.digits().map(Some) } else { Some(None) }
    }

    fn signed(&mut self) -> Option<i64> {
        if self.skip(b"-") {
            self.digits().filter(|&number| number > 0).and_then(|number| 0_i64.checked_sub_unsigned(number))
        } else {
            self.digits()?.try_into().ok()
        }
    }

    fn digits(&mut self) -> Option<u64> {
        let (mut number, mut digits) = (0_u64, 0);
        while let Some(digit) =
            self.rest.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
        {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            digits += 1;
        }
        if digits == 0 || (digits > 1 && self.rest[0] == b'0') {
            return None;
        }
        self.rest = &self.rest[digits..];
        Some(number)
    }

    /// A text of so many bytes.
    fn text(&mut self, bytes: u64) -> Option<Box<str>> {
        self.skip(b":").then_some(())?;
        let (text, rest) = self.rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.rest = rest;
        Some(std::str::from_utf8(text).ok()?.into())
    }
}

fn write_field(bytes: &mut Vec<u8>, name: &[u8], number: impl fmt::Display) {
    bytes.extend_from_slice(name);
    // There is always room in a vector.
    let _ = write!(bytes, "{number}");
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
