//! How large an expression may be, checked before a parser sees it.
//!
//! The parser recurses once per operator of a chain such as `a.b.c` or `1 + 2 + 3`, so a long line could take
//! the stack of the thread. This looks at the brackets and operators alone, in one pass.

use crate::error::ExpressionError;

/// Most levels of operations within operations. A person cannot follow 32; the evaluator recurses as deep.
pub(super) const DEPTH_MAX: usize = 32;

/// Most operations, constants and field reads in one expression. More is a program, and belongs into a stage.
pub(super) const NODES_MAX: usize = 1_000;

/// Most bytes of source. A thousand nodes with long names fit.
const SOURCE_BYTES_MAX: usize = 16 * 1024;

/// Most operators on one path through the source: several times what [`DEPTH_MAX`] leaves room for. A test
/// holds the deepest sources of this size to a stack of 1 MiB, half of what a thread usually has.
const CHAIN_MAX: usize = 256;

/// One bracket that is open.
#[derive(Default)]
struct Level {
    start: usize,
    /// Conditionals nest to the right as long as the bracket is open.
    conditionals: usize,
    /// Operators since the last `&&`, `||` or comma, which the parser does not nest.
    operators: usize,
    /// The deepest bracket among those operators.
    inner: usize,
    /// The deepest run so far.
    deepest: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.conditionals + self.deepest.max(self.operators + self.inner)
    }

    fn end_run(&mut self) {
        self.deepest = self.deepest.max(self.operators + self.inner);
        self.operators = 0;
        self.inner = 0;
    }
}

/// Refuses a source that is too long or nested too deep to parse.
pub(super) fn check(source: &str) -> Result<(), ExpressionError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(ExpressionError::new(
            0,
            format!("the expression has {} bytes, more than {SOURCE_BYTES_MAX}", source.len()),
        ));
    }
    let too_deep = |at: usize| {
        Err(ExpressionError::new(
            at.min(source.len()),
            format!("nested deeper than {DEPTH_MAX} levels; split the expression over two fields"),
        ))
    };
    let bytes = source.as_bytes();
    let mut level = Level::default();
    let mut around: Vec<Level> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => {
                at = after_text(bytes, at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'(' | b'[' | b'{' => {
                // A call and an index are operators themselves.
                level.operators += 1;
                around.push(std::mem::replace(&mut level, Level { start: at, ..Level::default() }));
                if around.len() > DEPTH_MAX {
                    return too_deep(at);
                }
            }
            b')' | b']' | b'}' => {
                // A bracket too many is the parser's to report.
                if let Some(outer) = around.pop() {
                    let inner = std::mem::replace(&mut level, outer).depth();
                    level.inner = level.inner.max(inner);
                }
            }
            b'&' | b'|' | b',' => level.end_run(),
            b'?' => {
                level.conditionals += 1;
                level.end_run();
            }
            b':' => level.end_run(),
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' => level.operators += 1,
            // The one operator that is a word.
            b'i' if source[at..].starts_with("in") => level.operators += 1,
            _ => {}
        }
        at += 1;
        if level.depth() > CHAIN_MAX || level.conditionals > DEPTH_MAX {
            return too_deep(level.start);
        }
    }
    Ok(())
}

/// The place behind the text that starts at `at`, or the end of the source when it is not closed.
fn after_text(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let raw = at > 0
        && match bytes[at - 1] {
            b'r' | b'R' => true,
            b'b' | b'B' => at > 1 && matches!(bytes[at - 2], b'r' | b'R'),
            _ => false,
        };
    let width = if bytes[at..].starts_with(&[quote; 3]) { 3 } else { 1 };
    let mut at = at + width;
    while at < bytes.len() {
        if bytes[at] == b'\\' && !raw {
            at += 2;
        } else if bytes[at] == quote && (width == 1 || bytes[at..].starts_with(&[quote; 3])) {
            return at + width;
        } else if width == 1 && bytes[at] == b'\n' {
            // A text on one line ends with it; what follows is code again.
            return at;
        } else {
            at += 1;
        }
    }
    bytes.len()
}
