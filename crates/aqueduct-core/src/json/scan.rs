use super::Field;

/// The deepest nesting that a record may have. Every recursive reader behind us (`serde_json` stops at the
/// same number) is safe below it.
pub const DEPTH_MAX: usize = 128;

/// What is wrong with a text that should be a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// Only white space.
    Empty,
    /// Valid so far, but the value at the top is not an object.
    NotAnObject,
    /// The text ends inside a value; a line that was cut off looks like this.
    Truncated,
    /// A byte that cannot stand here.
    Unexpected(u8),
    /// A control character inside a text; JSON wants it escaped.
    ControlCharacter(u8),
    /// A backslash followed by something that is not an escape, or half of a surrogate pair.
    BadEscape,
    /// A number that JSON does not allow, such as `01`, `.5` or `1e`.
    BadNumber,
    /// A word other than `true`, `false` and `null`.
    BadWord,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// Something after the object.
    TrailingData,
    /// Longer than 4 GiB.
    TooLong,
}

/// A text that is not a JSON object: what is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    kind: JsonErrorKind,
    offset: usize,
}

impl JsonError {
    pub(crate) fn new(kind: JsonErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> JsonErrorKind {
        self.kind
    }

    /// The byte at which it was noticed, from 0.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = self.offset + 1;
        match self.kind {
            JsonErrorKind::NotUtf8 => write!(f, "not valid UTF-8 at byte {at}"),
            JsonErrorKind::Empty => f.write_str("empty; expected a JSON object"),
            JsonErrorKind::NotAnObject => {
                write!(
                    f,
                    "JSON, but not an object at byte {at}; each line must be one object like {{\"id\":1}}"
                )
            }
            JsonErrorKind::Truncated => write!(f, "JSON cut off after {} bytes", self.offset),
            JsonErrorKind::Unexpected(byte) => {
                write!(f, "not JSON: unexpected '{}' at byte {at}", byte.escape_ascii())
            }
            JsonErrorKind::ControlCharacter(byte) => {
                write!(
                    f,
                    "not JSON: control character 0x{byte:02x} inside a text at byte {at}; it must be escaped"
                )
            }
            JsonErrorKind::BadEscape => write!(f, "not JSON: bad escape at byte {at}"),
            JsonErrorKind::BadNumber => write!(f, "not JSON: bad number at byte {at}"),
            JsonErrorKind::BadWord => {
                write!(f, "not JSON: expected true, false or null at byte {at}")
            }
            JsonErrorKind::TooDeep => {
                write!(f, "nested deeper than {DEPTH_MAX} levels at byte {at}")
            }
            JsonErrorKind::TrailingData => write!(f, "something follows the JSON object at byte {at}"),
            JsonErrorKind::TooLong => f.write_str("longer than 4 GiB"),
        }
    }
}

impl std::error::Error for JsonError {}

impl crate::Classified for JsonError {
    fn class(&self) -> crate::ErrorClass {
        crate::ErrorClass::Permanent
    }
}

pub(super) struct Scanned {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) fields: Vec<Field>,
    /// A key stands twice or is written with escapes.
    pub(super) needs_rewrite: bool,
}

/// Checks one object with white space around it and finds its fields.
pub(super) fn object(text: &str) -> Result<Scanned, JsonError> {
    if u32::try_from(text.len()).is_err() {
        return Err(JsonError::new(JsonErrorKind::TooLong, 0));
    }
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    scan.white_space();
    let start = scan.at;
    match scan.peek() {
        None => return Err(scan.error(JsonErrorKind::Empty)),
        Some(b'{') => {}
        Some(_) => {
            // Tell a wrong shape from a wrong syntax: the mends differ.
            scan.value(0)?;
            return Err(JsonError::new(JsonErrorKind::NotAnObject, start));
        }
    }
    scan.at += 1;
    // Most items have a dozen fields; growing costs more than the room.
    let mut fields = Vec::with_capacity(16);
    let mut needs_rewrite = false;
    scan.white_space();
    if scan.peek() == Some(b'}') {
        scan.at += 1;
    } else {
        loop {
            scan.white_space();
            scan.expect(b'"')?;
            let key_start = scan.offset();
            let escaped = scan.text_rest()?;
            let key_end = scan.offset() - 1;
            scan.white_space();
            scan.expect(b':')?;
            scan.white_space();
            let value_start = scan.offset();
            scan.value(1)?;
            let value_end = scan.offset();
            needs_rewrite |= escaped;
            fields.push(Field { key_start, key_end, value_start, value_end });
            scan.white_space();
            match scan.next()? {
                b',' => {}
                b'}' => break,
                other => return Err(JsonError::new(JsonErrorKind::Unexpected(other), scan.at - 1)),
            }
        }
    }
    let end = scan.at;
    scan.white_space();
    if scan.at != scan.bytes.len() {
        return Err(scan.error(JsonErrorKind::TrailingData));
    }
    needs_rewrite = needs_rewrite || has_duplicates(scan.bytes, &fields);
    if !needs_rewrite && start != 0 {
        let shift = u32::try_from(start).expect("checked against u32 above");
        for field in &mut fields {
            field.key_start -= shift;
            field.key_end -= shift;
            field.value_start -= shift;
            field.value_end -= shift;
        }
    }
    Ok(Scanned { start, end, fields, needs_rewrite })
}

/// Finds the end of one valid value that starts at `text`'s first byte, for readers of nested values.
pub(super) fn value_len(text: &[u8]) -> usize {
    let mut scan = Scan { bytes: text, at: 0 };
    match scan.value(0) {
        Ok(()) => scan.at,
        // Only valid JSON gets here; an error would mean that a record was built wrongly.
        Err(_) => text.len(),
    }
}

/// Checks that `text` is exactly one JSON value.
pub(super) fn check_value(text: &str) -> Result<(), JsonError> {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0 };
    scan.value(0)?;
    if scan.at == text.len() { Ok(()) } else { Err(scan.error(JsonErrorKind::TrailingData)) }
}

/// Finds out whether two keys are equal.
///
/// A bit set over length, first and last byte tells most keys apart; only a key whose bit is taken is compared
/// with those before it. Wide objects are sorted instead, so that a hostile line of 100,000 keys costs n log n
/// and not n squared.
fn has_duplicates(bytes: &[u8], fields: &[Field]) -> bool {
    let key = |field: &Field| &bytes[field.key_start as usize..field.key_end as usize];
    if fields.len() > 64 {
        let mut keys: Vec<&[u8]> = fields.iter().map(key).collect();
        keys.sort_unstable();
        return keys.windows(2).any(|pair| pair[0] == pair[1]);
    }
    let mut seen = [0_u64; 4];
    fields.iter().enumerate().any(|(index, field)| {
        let wanted = key(field);
        let (first, last) = (wanted.first().copied().unwrap_or(0), wanted.last().copied().unwrap_or(0));
        let place =
            usize::from(first.wrapping_mul(7).wrapping_add(last.wrapping_mul(31))) ^ (wanted.len() & 0xff);
        let (word, bit) = (&mut seen[place / 64], 1 << (place % 64));
        let taken = *word & bit != 0;
        *word |= bit;
        taken && fields[..index].iter().any(|earlier| key(earlier) == wanted)
    })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError::new(kind, self.at)
    }

    /// The caller has checked that the text is shorter than 4 GiB.
    #[expect(clippy::cast_possible_truncation, reason = "texts over u32::MAX bytes are refused up front")]
    fn offset(&self) -> u32 {
        self.at as u32
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, JsonError> {
        let byte = self.peek().ok_or_else(|| self.error(JsonErrorKind::Truncated))?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, wanted: u8) -> Result<(), JsonError> {
        match self.next()? {
            byte if byte == wanted => Ok(()),
            byte => Err(JsonError::new(JsonErrorKind::Unexpected(byte), self.at - 1)),
        }
    }

    fn white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Checks one value. Nesting is kept as one bit a level (1 = object), so depth costs no stack.
    fn value(&mut self, depth_outside: usize) -> Result<(), JsonError> {
        let mut kinds: u128 = 0;
        let mut depth = 0_usize;
        loop {
            // A value starts here.
            match self.next()? {
                b'"' => {
                    self.text_rest()?;
                }
                b'-' | b'0'..=b'9' => self.number_rest()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                open @ (b'{' | b'[') => {
                    if depth + depth_outside >= DEPTH_MAX {
                        return Err(JsonError::new(JsonErrorKind::TooDeep, self.at - 1));
                    }
                    self.white_space();
                    let close = if open == b'{' { b'}' } else { b']' };
                    if self.peek() == Some(close) {
                        self.at += 1;
                    } else {
                        kinds = (kinds << 1) | u128::from(open == b'{');
                        depth += 1;
                        if open == b'{' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                other => return Err(JsonError::new(JsonErrorKind::Unexpected(other), self.at - 1)),
            }
            // A value ended here; close what it closes.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.white_space();
                let in_object = kinds & 1 == 1;
                match self.next()? {
                    b',' => {
                        self.white_space();
                        if in_object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if in_object => {}
                    b']' if !in_object => {}
                    other => return Err(JsonError::new(JsonErrorKind::Unexpected(other), self.at - 1)),
                }
                kinds >>= 1;
                depth -= 1;
            }
        }
    }

    fn key(&mut self) -> Result<(), JsonError> {
        self.expect(b'"')?;
        self.text_rest()?;
        self.white_space();
        self.expect(b':')?;
        self.white_space();
        Ok(())
    }

    fn word(&mut self, rest: &[u8]) -> Result<(), JsonError> {
        let start = self.at - 1;
        for wanted in rest {
            if self.next()? != *wanted {
                return Err(JsonError::new(JsonErrorKind::BadWord, start));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// The first byte, a sign or a digit, is taken already.
    fn number_rest(&mut self) -> Result<(), JsonError> {
        let start = self.at - 1;
        let bad = JsonError::new(JsonErrorKind::BadNumber, start);
        let first = if self.bytes[start] == b'-' {
            let first = self.next()?;
            if !first.is_ascii_digit() {
                return Err(bad);
            }
            first
        } else {
            self.bytes[start]
        };
        let more = self.digits();
        if first == b'0' && more > 0 {
            return Err(bad);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(if self.peek().is_none() { self.error(JsonErrorKind::Truncated) } else { bad });
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(if self.peek().is_none() { self.error(JsonErrorKind::Truncated) } else { bad });
            }
        }
        Ok(())
    }

    /// The opening quote is taken already. Tells whether the text holds an escape.
    fn text_rest(&mut self) -> Result<bool, JsonError> {
        let mut escaped = false;
        loop {
            self.plain_text();
            match self.next()? {
                b'"' => return Ok(escaped),
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                control @ 0..=0x1f => {
                    return Err(JsonError::new(JsonErrorKind::ControlCharacter(control), self.at - 1));
                }
                _ => {}
            }
        }
    }

    /// Skips eight bytes at a time while none of them is a quote, a backslash or a control character.
    ///
    /// "Determine if a word has a byte less than n" and "equal to n", Sean Eron Anderson, Bit Twiddling Hacks.
    /// False alarms on bytes of 0x80 and more are excluded by the last mask.
    #[inline]
    fn plain_text(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        while let Some(chunk) = self.bytes[self.at..].first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let control = word.wrapping_sub(ONES * 0x20) & !word;
            let quote = word ^ (ONES * u64::from(b'"'));
            let quote = quote.wrapping_sub(ONES) & !quote;
            let backslash = word ^ (ONES * u64::from(b'\\'));
            let backslash = backslash.wrapping_sub(ONES) & !backslash;
            let stops = (control | quote | backslash) & HIGH;
            if stops != 0 {
                // The lowest stop is exact; borrows can only spoil higher ones.
                self.at += (stops.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
            self.at += 1;
        }
    }

    /// The backslash is taken already.
    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at - 1;
        let bad = JsonError::new(JsonErrorKind::BadEscape, start);
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => match self.hex4(bad)? {
                0xd800..=0xdbff => {
                    if self.next()? != b'\\' || self.next()? != b'u' {
                        return Err(bad);
                    }
                    match self.hex4(bad)? {
                        0xdc00..=0xdfff => Ok(()),
                        _ => Err(bad),
                    }
                }
                0xdc00..=0xdfff => Err(bad),
                _ => Ok(()),
            },
            _ => Err(bad),
        }
    }

    fn hex4(&mut self, bad: JsonError) -> Result<u16, JsonError> {
        let mut unit = 0_u16;
        for _ in 0..4 {
            let digit = match self.next()? {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                digit @ b'A'..=b'F' => digit - b'A' + 10,
                _ => return Err(bad),
            };
            unit = unit << 4 | u16::from(digit);
        }
        Ok(unit)
    }
}
