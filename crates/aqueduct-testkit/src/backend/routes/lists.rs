use hyper::StatusCode;
use hyper::header::LINK;
use serde_json::{Value, json};

use super::query::Query;
use super::{Asked, score};
use crate::backend::answer::Answer;

/// What a client gets that does not ask for a number.
const LIMIT_DEFAULT: u64 = 100;
/// The most at once, whatever is asked for; some services give fewer than asked, and so do we.
const LIMIT_MAX: u64 = 1_000;

/// What every cursor starts with, so that nobody takes one for an offset.
const CURSOR: &str = "after-";

/// A page of the records, by offset or by cursor.
pub(super) fn list(asked: &Asked<'_>) -> Answer {
    let query = Query::of(asked.query);
    page(asked, query).map_or_else(
        |message| Answer::invalid(&message),
        |page| {
            let next = page.next(asked.script.records);
            let value = if query.get("cursor").is_some() {
                json!({ "records": page.records(), "next": next.map(|next| format!("{CURSOR}{next}")) })
            } else {
                let (offset, limit) = (page.offset, page.limit);
                json!({
                    "records": page.records(), "offset": offset, "limit": limit, "total": asked.script.records,
                })
            };
            Answer::json(StatusCode::OK, &value)
        },
    )
}

/// A page of the records as an array, with a field `Link` that leads to the next one.
pub(super) fn linked(asked: &Asked<'_>) -> Answer {
    match page(asked, Query::of(asked.query)) {
        Ok(page) => {
            let answer = Answer::json(StatusCode::OK, &Value::Array(page.records()));
            let (origin, limit) = (asked.origin, page.limit);
            let link =
                |offset, rel| format!("<{origin}/list/linked?offset={offset}&limit={limit}>; rel=\"{rel}\"");
            let first = link(0, "first");
            match page.next(asked.script.records) {
                Some(next) => answer.with(LINK, &format!("{}, {first}", link(next, "next"))),
                None => answer.with(LINK, &first),
            }
        }
        Err(message) => Answer::invalid(&message),
    }
}

/// The records of one answer.
struct Page {
    offset: u64,
    /// As many as were asked for, or the most that there are at once.
    limit: u64,
    end: u64,
}

fn page(asked: &Asked<'_>, query: Query<'_>) -> Result<Page, String> {
    let limit = query.number("limit", LIMIT_DEFAULT, u64::MAX)?.min(LIMIT_MAX);
    if limit == 0 {
        return Err("limit is 0, allowed is 1 or more".to_owned());
    }
    let total = asked.script.records;
    let offset = match query.get("cursor") {
        None => query.number("offset", 0, u64::MAX)?,
        Some(cursor) if cursor.is_empty() => 0,
        Some(cursor) => cursor
            .strip_prefix(CURSOR)
            .and_then(|at| at.parse().ok())
            .filter(|at| *at <= total)
            .ok_or_else(|| format!("cursor is {cursor:?}, allowed is the next of an answer before"))?,
    };
    Ok(Page { offset, limit, end: offset.saturating_add(limit).min(total) })
}

impl Page {
    fn records(&self) -> Vec<Value> {
        let record = |number: u64| {
            let id = format!("record-{number}");
            json!({ "number": number, "score": score(&id), "id": id })
        };
        (self.offset..self.end).map(record).collect()
    }

    fn next(&self, total: u64) -> Option<u64> {
        (self.end < total && self.end > self.offset).then_some(self.end)
    }
}
