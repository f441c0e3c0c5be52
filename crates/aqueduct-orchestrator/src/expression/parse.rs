//! The parser is crate `cel`'s; here its errors become ours.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::Parser;

use super::limits;
use crate::error::ExpressionError;

/// Parses a source into its tree and the place of every node.
pub(super) fn parse(source: &str) -> Result<(IdedExpr, SourceInfo), ExpressionError> {
    limits::check(source)?;
    if source.trim().is_empty() {
        return Err(ExpressionError::new(0, "the expression is empty"));
    }
    // Brackets and conditionals are bounded above, each takes one level here; the parser's own limit stays
    // behind as a second line.
    let depth = u16::try_from(2 * limits::DEPTH_MAX + 2).unwrap_or(u16::MAX);
    Parser::new().max_recursion_depth(depth).parse_with_source_info(source).map_err(|errors| {
        match errors.errors.first() {
            Some(first) => ExpressionError::new(offset(source, first.pos), explained(source, &first.msg)),
            None => ExpressionError::new(0, "the expression does not parse"),
        }
    })
}

/// The parser counts lines and letters from 1; editors and files want bytes.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let (Ok(line), Ok(column)) = (usize::try_from(line), usize::try_from(column)) else { return 0 };
    let start: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = source.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}

/// The parser lists every token that could follow; a person needs the likely cause.
fn explained(source: &str, message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let quoted = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?.strip_prefix('\'')?;
        let end = rest.find("' expecting").or_else(|| rest.rfind('\''))?;
        Some(rest[..end].to_owned())
    };
    if message == "UNKNOWN" || message.contains("Recursion limit") {
        return format!(
            "nested deeper than {} levels; split the expression over two fields",
            limits::DEPTH_MAX
        );
    }
    if let Some(token) = quoted("token recognition error at: ") {
        return match token.chars().next() {
            Some('=') => "unexpected \"=\"; a comparison is ==".to_owned(),
            Some('&') => "unexpected \"&\"; the logical and is &&".to_owned(),
            Some('|') => "unexpected \"|\"; the logical or is ||".to_owned(),
            Some('"' | '\'') => "a text that is not closed".to_owned(),
            _ => format!("unexpected {:?}", token.trim()),
        };
    }
    if let Some(token) = message.strip_prefix("missing ").and_then(|rest| rest.split(" at ").next()) {
        return format!("missing {}", token.replace('\'', "\""));
    }
    let unexpected = quoted("mismatched input ")
        .or_else(|| quoted("extraneous input "))
        .or_else(|| quoted("no viable alternative at input "));
    match unexpected.as_deref() {
        Some("<EOF>") => "the expression ends too early".to_owned(),
        // The parser names the last word it read when nothing follows.
        Some(token) if message.starts_with("no viable") && source.trim_end().ends_with(token) => {
            "the expression ends too early".to_owned()
        }
        Some("and") => "unexpected \"and\"; the logical and is &&".to_owned(),
        Some("or") => "unexpected \"or\"; the logical or is ||".to_owned(),
        Some(token) if source.trim_start().starts_with("not ") => {
            format!("unexpected {token:?}; the logical not is !")
        }
        Some(token) => format!("unexpected {token:?}"),
        None => message.to_owned(),
    }
}
