//! As much of Rust's grammar as the checks need: what is code, what is a string, what is a comment.

/// A string literal and the line on which it starts, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// Gives the string literals of a source file, as written between their quotes.
///
/// Comments are passed over, and so are character literals. Linear in the length of the text.
pub(super) fn literals(source: &str) -> Vec<Literal<'_>> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => {
                bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
            }
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => {
                let end = string_end(bytes, at + 1);
                let close = if bytes[..end].ends_with(b"\"") && end > at + 1 { end - 1 } else { end };
                found.push(Literal { line, text: &source[at + 1..close] });
                end
            }
            b'r' if !follows_name(bytes, at) => match raw_string(bytes, at) {
                Some((start, close, end)) => {
                    found.push(Literal { line, text: &source[start..close] });
                    end
                }
                None => at + 1,
            },
            b'\'' => character_end(bytes, at),
            _ => at + 1,
        };
        line += bytes[at..end].iter().filter(|byte| **byte == b'\n').count();
        at = end;
    }
    found
}

/// Block comments nest.
fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The place after the closing quote.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The text's start, its end and the place after the literal, of `r"…"` and `r#"…"#`.
fn raw_string(bytes: &[u8], start: usize) -> Option<(usize, usize, usize)> {
    let hashes = bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
    let text = start + 1 + hashes + 1;
    if bytes.get(text - 1) != Some(&b'"') {
        return None;
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let length = bytes[text..].windows(closing.len()).position(|window| window == closing)?;
    Some((text, text + length, text + length + closing.len()))
}

/// A quote begins a character or a lifetime; only a character has a closing quote right after it.
fn character_end(bytes: &[u8], start: usize) -> usize {
    match &bytes[start..] {
        // What is escaped may be a quote, so the search starts after it.
        [_, b'\\', _, rest @ ..] => {
            rest.iter().position(|byte| *byte == b'\'').map_or(bytes.len(), |length| start + 3 + length + 1)
        }
        [_, _, b'\'', ..] => start + 3,
        _ => start + 1,
    }
}

/// An `r` inside a name begins no raw string; the `br` of a byte string does.
fn follows_name(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| bytes[before]);
    let prefixed = before == Some(b'b') && !at.checked_sub(2).is_some_and(|at| is_name(bytes[at]));
    before.is_some_and(is_name) && !prefixed
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[(usize, &str)]) {
        let found: Vec<_> =
            literals(source).into_iter().map(|literal| (literal.line, literal.text)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn strings_are_found_and_comments_are_not() {
        check("let a = \"x\";", &[(1, "x")]);
        check("// \"no\"\nlet a = \"yes\";", &[(2, "yes")]);
        check("/* \"no\" /* \"no\" */ \"no\" */ \"yes\"", &[(1, "yes")]);
        check("\"a\nb\" \"c\"", &[(1, "a\nb"), (2, "c")]);
        check(r#"f("a\"b", "c")"#, &[(1, r#"a\"b"#), (1, "c")]);
        check("r#\"a \"b\" c\"# \"d\"", &[(1, "a \"b\" c"), (1, "d")]);
        check("br\"a\" for\"b\"", &[(1, "a"), (1, "b")]);
    }

    #[test]
    fn a_quote_in_a_character_starts_no_string() {
        check("('\"', \"a\")", &[(1, "a")]);
        check("('\\'', '\\\\', \"a\")", &[(1, "a")]);
        check("fn f<'a>(x: &'a str) { \"b\" }", &[(1, "b")]);
    }

    #[test]
    fn a_file_that_ends_in_the_middle_is_read_to_its_end() {
        for source in ["\"", "\"a", "r#\"a", "/* a", "'\\", "'", "r", "r#", "\"a\\"] {
            literals(source);
        }
    }
}
