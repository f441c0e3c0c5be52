//! What a line of the program means.

use std::borrow::Cow;

use aqueduct_core::json::Kind;
use aqueduct_core::{ErrorClass, Payload, Record};

use crate::error::StageError;
use crate::stage::{Emission, Outcome};

/// What the program says of one item.
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) verdict: Result<Outcome, StageError>,
}

/// Reads one line. An error means that the line belongs to no item, so the program cannot be trusted any more;
/// an answer that names its item and says nothing sensible is a failure of that item alone.
pub(super) fn read(line: &[u8]) -> Result<Answer, String> {
    let record = Record::parse(line.to_vec())
        .map_err(|error| format!("it wrote a line that is not a JSON object ({error}): {}", shown(line)))?;
    let id = match record.get("id").map(|id| id.as_str().map(Cow::into_owned)) {
        Some(Some(id)) => id,
        _ => return Err(format!("it wrote an answer without the id of an item: {}", shown(line))),
    };
    Ok(Answer { id, verdict: verdict(&record) })
}

fn verdict(record: &Record) -> Result<Outcome, StageError> {
    let wrong = |what: &str| Err(StageError::permanent(format!("the program's answer {what}")));
    let said = ["item", "items", "skip", "error"].map(|key| record.get(key));
    match said {
        [Some(item), None, None, None] => match own(item.as_bytes()) {
            Ok(record) => Ok(Outcome::Emit(Payload::Record(record))),
            Err(_) => wrong("has an item that is not an object"),
        },
        [None, Some(items), None, None] => {
            if items.kind() != Kind::Array {
                return wrong("has items that are not a list");
            }
            let records: Result<Vec<Record>, _> =
                items.entries().map(|(_, item)| own(item.as_bytes())).collect();
            match records {
                Ok(records) => Ok(Outcome::Many(
                    records.into_iter().map(|record| Emission::Next(Payload::Record(record))).collect(),
                )),
                Err(_) => wrong("has items that are not all objects"),
            }
        }
        [None, None, Some(reason), None] => match reason.as_str() {
            Some(reason) => Ok(Outcome::Skip(Cow::Owned(reason.into_owned()))),
            None => wrong("has a skip that is not a text"),
        },
        [None, None, None, Some(text)] => {
            let Some(text) = text.as_str() else { return wrong("has an error that is not a text") };
            let class = match record.get("retry").map(|retry| retry.as_bool()) {
                None | Some(Some(false)) => ErrorClass::Permanent,
                Some(Some(true)) => ErrorClass::Transient,
                Some(None) => return wrong("has a retry that is neither true nor false"),
            };
            Err(StageError::new(class, text.into_owned()))
        }
        [None, None, None, None] => wrong("has none of item, items, skip and error"),
        _ => wrong("has more than one of item, items, skip and error"),
    }
}

fn own(bytes: &[u8]) -> Result<Record, aqueduct_core::json::JsonError> {
    Record::parse(bytes.to_vec())
}

/// Enough of a line to recognise it by.
fn shown(line: &[u8]) -> String {
    const BYTES_MAX: usize = 80;
    let head = String::from_utf8_lossy(&line[..line.len().min(BYTES_MAX)]);
    let dots = if line.len() > BYTES_MAX { "..." } else { "" };
    format!("{head:?}{dots}")
}

#[cfg(test)]
mod tests {
    use aqueduct_core::Classified;

    use super::*;

    fn said(line: &str) -> String {
        match read(line.as_bytes()) {
            Err(error) => format!("fault: {error}"),
            Ok(Answer { verdict: Err(error), .. }) => format!("{}: {error}", error.class().as_str()),
            Ok(Answer { verdict: Ok(Outcome::Many(many)), .. }) => format!("many {}", many.len()),
            Ok(Answer { verdict: Ok(outcome), .. }) => format!("{outcome:?}"),
        }
    }

    #[test]
    fn each_form_of_an_answer_is_understood_and_each_wrong_one_named() {
        for (line, expected) in [
            (r#"{"id":"a","item":{"n":1}}"#, "Emit"),
            (r#"{"item":{},"id":"a","extra":[1]}"#, "Emit"),
            (r#"{"id":"a","items":[]}"#, "many 0"),
            (r#"{"id":"a","items":[{},{}]}"#, "many 2"),
            (r#"{"id":"a","skip":"dull"}"#, "Skip(\"dull\")"),
            (r#"{"id":"a","error":"bad"}"#, "permanent: bad"),
            (r#"{"id":"a","error":"bad","retry":false}"#, "permanent: bad"),
            (r#"{"id":"a","error":"busy","retry":true}"#, "transient: busy"),
            (r#"{"id":"a","error":"busy","retry":1}"#, "permanent: the program's answer has a retry"),
            (r#"{"id":"a","item":3}"#, "permanent: the program's answer has an item that is not an object"),
            (r#"{"id":"a","items":{}}"#, "permanent: the program's answer has items that are not a list"),
            (r#"{"id":"a","items":[{},1]}"#, "permanent: the program's answer has items that are not all"),
            (r#"{"id":"a","skip":1}"#, "permanent: the program's answer has a skip that is not a text"),
            (r#"{"id":"a"}"#, "permanent: the program's answer has none of item, items, skip and error"),
            (r#"{"id":"a","skip":"","item":{}}"#, "permanent: the program's answer has more than one"),
            (r#"{"id":1,"item":{}}"#, "fault: it wrote an answer without the id"),
            (r#"{"item":{}}"#, "fault: it wrote an answer without the id"),
            ("hello", "fault: it wrote a line that is not a JSON object"),
            ("[]", "fault: it wrote a line that is not a JSON object"),
        ] {
            let found = said(line);
            assert!(found.starts_with(expected), "{line}: {found}");
        }
    }
}
