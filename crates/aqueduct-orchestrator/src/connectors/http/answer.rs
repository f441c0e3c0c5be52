//! An answer as a field of the item, for expressions.

use aqueduct_core::json::RawJson;
use aqueduct_core::{Record, RecordBuilder};
use aqueduct_stream::StageError;
use serde_json::Value as Json;

use crate::connectors::backend::Answer;

/// The item with the answer in the field `into`.
pub(crate) fn joined(record: &Record, into: &str, answer: &Answer) -> Result<Record, StageError> {
    let text = object(answer)?;
    let object = RawJson::parse(&text)
        .map_err(|error| StageError::permanent("the answer is nested too deep").with_source(error))?;
    let mut builder = RecordBuilder::with_capacity(record.as_bytes().len() + text.len() + into.len() + 8);
    // A field of the same name makes room.
    for (key, value) in record.fields().filter(|(key, _)| *key != into) {
        builder.raw_escaped(key, value);
    }
    builder.raw(into, object);
    Ok(builder.finish())
}

/// `{"status":200,"url":"...","headers":{...},"body":...}`
pub(crate) fn object(answer: &Answer) -> Result<String, StageError> {
    let response = &answer.response;
    let mut headers = serde_json::Map::new();
    for (name, value) in response.headers() {
        // Of repeated fields the values are joined, as RFC 9110 has it (section 5.3).
        let value = String::from_utf8_lossy(value.as_bytes());
        match headers.get_mut(name.as_str()) {
            Some(Json::String(before)) => {
                before.push_str(", ");
                before.push_str(&value);
            }
            _ => {
                headers.insert(name.as_str().to_owned(), value.into_owned().into());
            }
        }
    }
    let body = body(answer)?;
    let (url, headers) = (Json::from(answer.url.as_str()), Json::from(headers));
    Ok(format!(
        r#"{{"status":{},"url":{url},"headers":{headers},"body":{body}}}"#,
        response.status().as_u16()
    ))
}

/// The next page of a list that an answer links to (RFC 8288).
pub(crate) fn link_next(answer: &Answer) -> Option<String> {
    let response = &answer.response;
    let fields = response.headers().get_all("link").into_iter().filter_map(|value| value.to_str().ok());
    let next = fields.flat_map(links).find(|(_, parameters)| {
        parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let relations = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.split(' ').any(|relation| relation.eq_ignore_ascii_case("next"))
        })
    });
    next.map(|(target, _)| target.to_owned())
}

/// The targets of a field and what is said of each. Commas stand between links, and may stand in targets.
fn links(field: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = field;
    std::iter::from_fn(move || {
        let start = rest.find('<')?;
        let end = start + rest[start..].find('>')?;
        let target = &rest[start + 1..end];
        let parameters = &rest[end + 1..];
        let length = parameters.find('<').unwrap_or(parameters.len());
        rest = &parameters[length..];
        Some((target, parameters[..length].trim_end().trim_end_matches(',')))
    })
}

/// The body as JSON: itself where the answer says that it is, else a text.
fn body(answer: &Answer) -> Result<String, StageError> {
    let response = &answer.response;
    let essence = response.content_type().unwrap_or_default();
    let essence = essence.as_str();
    if response.body().is_empty() {
        return Ok("\"\"".to_owned());
    }
    if essence == "application/json" || essence.ends_with("+json") {
        let text = std::str::from_utf8(response.body()).map_err(|error| {
            StageError::permanent("the answer says it is JSON and is not UTF-8").with_source(error)
        })?;
        RawJson::parse(text).map_err(|error| {
            StageError::permanent("the answer says it is JSON and is not").with_source(error)
        })?;
        return Ok(text.to_owned());
    }
    let is_text = essence.is_empty()
        || essence.starts_with("text/")
        || matches!(
            essence,
            "application/xml" | "application/javascript" | "application/x-ndjson" | "application/jsonl"
        )
        || essence.ends_with("+xml");
    if !is_text {
        return Err(StageError::permanent(format!(
            "the answer is {essence}, which is neither JSON nor text"
        )));
    }
    let text = response
        .text()
        .map_err(|error| StageError::permanent("the answer cannot be read").with_source(error))?;
    Ok(Json::from(text).to_string())
}
