//! Reads comma-separated values as RFC 4180 has them, without leniency.

/// The records of a text, each a list of fields; none when a quote or the last line is not closed.
pub(super) fn records(text: &str) -> Option<Vec<Vec<String>>> {
    let mut records = Vec::new();
    let mut record = Vec::new();
    let mut letters = text.chars().peekable();
    while letters.peek().is_some() {
        let mut field = String::new();
        let end = if letters.next_if_eq(&'"').is_some() {
            loop {
                match letters.next()? {
                    '"' if letters.next_if_eq(&'"').is_some() => field.push('"'),
                    '"' => break,
                    letter => field.push(letter),
                }
            }
            letters.next()?
        } else {
            loop {
                match letters.next()? {
                    '"' => return None,
                    end @ (',' | '\n') => break end,
                    letter => field.push(letter),
                }
            }
        };
        record.push(field);
        match end {
            ',' if letters.peek().is_none() => return None,
            ',' => {}
            '\n' => records.push(std::mem::take(&mut record)),
            _ => return None,
        }
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::records;

    #[test]
    fn quotes_protect_commas_line_ends_and_quotes() {
        let read = records("a,b\n\"x, \"\"y\"\"\nz\",\n,\"\"\n").expect("good rows");
        assert_eq!(read, [["a", "b"], ["x, \"y\"\nz", ""], ["", ""]]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for text in ["a,b", "a,\"b\n", "a,\"b\"c\n", "a\"b\n", "a,b\nc,"] {
            assert_eq!(records(text), None, "{text:?}");
        }
    }
}
