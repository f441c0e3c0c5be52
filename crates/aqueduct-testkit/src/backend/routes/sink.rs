use hyper::StatusCode;
use serde::de::IgnoredAny;
use serde_json::json;

use crate::backend::answer::Answer;

/// Takes records: a JSON array, or a JSON value a line. All of them, or none.
pub(super) fn take(body: &[u8]) -> Answer {
    let records = if body.trim_ascii_start().starts_with(b"[") { array(body) } else { lines(body) };
    match records {
        Ok(records) => {
            let mut answer = Answer::json(StatusCode::OK, &json!({ "accepted": records }));
            answer.records = records;
            answer
        }
        Err(message) => Answer::invalid(&message),
    }
}

fn array(body: &[u8]) -> Result<u64, String> {
    match serde_json::from_slice::<Vec<IgnoredAny>>(body) {
        Ok(records) => Ok(records.len() as u64),
        Err(error) => Err(format!("the array is not JSON: {error}")),
    }
}

fn lines(body: &[u8]) -> Result<u64, String> {
    let mut records = 0;
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if let Err(error) = serde_json::from_slice::<IgnoredAny>(line) {
            return Err(format!("line {number} is not JSON: {error}"));
        }
        records += 1;
    }
    Ok(records)
}
