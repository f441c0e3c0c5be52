//! Where records end.

/// How a format separates its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One a line. A line of white space is no record.
    Lines,
    /// One a line, but for line ends between quotes. An empty line is no record.
    Quoted {
        /// What separates fields: a quote opens only at the start of one.
        delimiter: u8,
        /// What line ends may stand between.
        quote: u8,
    },
}

/// How far the record under way was searched for its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Search {
    /// How many of its bytes were looked at.
    pub(crate) at: usize,
    /// Whether that place is between quotes.
    quoted: bool,
}

impl Framing {
    /// Finds the end of the record that begins with `bytes`, its line end included. `None` when the end is not
    /// there yet; `search` then remembers what need not be looked at again.
    ///
    /// # Complexity
    ///
    /// Linear in the bytes that were not looked at before.
    pub(crate) fn record_end(self, bytes: &[u8], search: &mut Search) -> Option<usize> {
        let end = match self {
            Self::Lines => memchr::memchr(b'\n', &bytes[search.at..]).map(|at| search.at + at + 1),
            Self::Quoted { delimiter, quote } => quoted_end(bytes, delimiter, quote, search),
        };
        match end {
            Some(_) => *search = Search::default(),
            None if matches!(self, Self::Lines) => search.at = bytes.len(),
            None => {}
        }
        end
    }

    /// Whether these bytes, a record's place, hold no record.
    pub(crate) fn is_blank(self, record: &[u8]) -> bool {
        match self {
            Self::Lines => record.iter().all(u8::is_ascii_whitespace),
            Self::Quoted { .. } => without_line_end(record).is_empty(),
        }
    }

    /// How many lines a record takes, its line end counted.
    pub(crate) fn lines(self, record: &[u8]) -> u64 {
        match self {
            Self::Lines => 1,
            Self::Quoted { .. } => line_ends(record).max(1),
        }
    }

    /// How many of these bytes are whole records, the first of which begins with them.
    pub(crate) fn whole(self, bytes: &[u8]) -> usize {
        if self == Self::Lines {
            return memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        }
        let (mut start, mut search) = (0, Search::default());
        while let Some(end) = self.record_end(&bytes[start..], &mut search) {
            start += end;
        }
        start
    }
}

/// A quote opens a quoted field where a field begins, two quotes between quotes are one, and what follows a
/// closing quote is plain until the delimiter. The decoder reads fields by the same rules.
fn quoted_end(bytes: &[u8], delimiter: u8, quote: u8, search: &mut Search) -> Option<usize> {
    loop {
        if search.quoted {
            let Some(at) = memchr::memchr(quote, &bytes[search.at..]).map(|at| search.at + at) else {
                search.at = bytes.len();
                return None;
            };
            match bytes.get(at + 1) {
                Some(next) if *next == quote => search.at = at + 2,
                Some(_) => *search = Search { at: at + 1, quoted: false },
                // The next byte tells whether this quote closes.
                None => {
                    search.at = at;
                    return None;
                }
            }
        }
        if !search.quoted {
            let Some(at) = memchr::memchr2(quote, b'\n', &bytes[search.at..]).map(|at| search.at + at) else {
                search.at = bytes.len();
                return None;
            };
            if bytes[at] == b'\n' {
                return Some(at + 1);
            }
            let opens = at == 0 || bytes[at - 1] == delimiter;
            *search = Search { at: at + 1, quoted: opens };
        }
    }
}

/// A record without its line end.
pub(crate) fn without_line_end(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}

/// How many line ends stand in these bytes.
pub(crate) fn line_ends(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
