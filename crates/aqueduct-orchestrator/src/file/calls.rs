//! What calls a service or draws on a budget: the stages `http` and `budget`, the source and the sink `http`.

use std::sync::Arc;

use super::backends::{Backends, endpoint_fault, optional};
use super::keys::{self, Key};
use super::reader::{Reader, Table};
use super::tree::{At, Raw};
use crate::expression::Expression;
use crate::redacted::Redacted;
use crate::spec::{
    HttpSinkSpec, HttpSourceSpec, HttpSpec, Method, ModelShape, ModelSpec, Paging, SinkFormat, SinkKind,
    SourceKind, StageKind, StatusRange, Statuses, Target,
};
use crate::template::Template;

/// The source `http`.
pub(super) fn source(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    backends: &mut Backends<'_, '_>,
) -> Option<SourceKind> {
    let backend = backend(reader, table, Some("source"), backends);
    let url = fixed_url(reader, table, &keys::PAGES_URL, backend, backends);
    let headers = plain_headers(reader, table);
    let items = expression_or(reader, table, &keys::PAGE_ITEMS, "item.response.body");
    let next = expression_or(reader, table, &keys::NEXT_CURSOR, "item.response.body.next");
    let size = reader.integer(table, &keys::PAGE_SIZE);
    let mut parameter = |key: &Key| match (table.entry(key), key.absent) {
        (None, keys::Absent::Text(default)) => Some(default.to_owned()),
        _ => reader.text(table, key).map(|name| name.expose().to_owned()),
    };
    let offset = parameter(&keys::OFFSET_PARAMETER);
    let limit = parameter(&keys::LIMIT_PARAMETER);
    let cursor = parameter(&keys::CURSOR_PARAMETER);
    let statuses = statuses(reader, table);
    let paging = match reader.choice(table, &keys::PAGING)? {
        "offset" => Paging::Offset { offset: offset?, limit: limit?, size: size? },
        "cursor" => Paging::Cursor { parameter: cursor?, next: next? },
        "link" => Paging::Link,
        _ => Paging::None,
    };
    Some(SourceKind::Http(Box::new(HttpSourceSpec {
        backend: backend?,
        url: url?,
        headers: headers?,
        items: items?,
        paging,
        statuses: statuses?,
    })))
}

/// The sink `http`.
pub(super) fn sink(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    name: Option<&str>,
    backends: &mut Backends<'_, '_>,
) -> Option<SinkKind> {
    let backend = backend(reader, table, name, backends);
    let url = fixed_url(reader, table, &keys::SINK_URL, backend, backends);
    let method = reader.choice(table, &keys::SINK_METHOD).map(method);
    let headers = plain_headers(reader, table);
    let batch_items = match table.entry(&keys::SINK_BATCH) {
        Some(_) => reader.written_integer(table, &keys::SINK_BATCH).map(|size| usize::try_from(size).ok()),
        None => Some(None),
    };
    let format = reader.choice(table, &keys::SINK_FORMAT);
    let statuses = statuses(reader, table);
    Some(SinkKind::Http(Box::new(HttpSinkSpec {
        backend: backend?,
        url: url?,
        method: method?,
        headers: headers?,
        batch_items: batch_items?,
        format: if format? == "jsonl" { SinkFormat::JsonLines } else { SinkFormat::Json },
        statuses: statuses?,
    })))
}

/// The backend that is named, else one of its own.
fn backend(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    own: Option<&str>,
    backends: &mut Backends<'_, '_>,
) -> Option<usize> {
    match table.entry(&keys::CALLS) {
        Some(_) => backends.named(reader, table, &keys::CALLS),
        None => own.and_then(|own| backends.own(reader, own)),
    }
}

/// A URL without places.
fn fixed_url(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    key: &Key,
    backend: Option<usize>,
    backends: &Backends<'_, '_>,
) -> Option<Redacted> {
    let url = reader.text(table, key)?;
    let relative = backend.and_then(|backend| backends.has_endpoints(backend));
    let fault = relative.and_then(|relative| Template::new(vec![Ok(url.clone())]).url_fault(relative));
    match (fault, table.entry(key)) {
        (Some(fault), Some(entry)) => {
            reader.diagnostics.error(&entry.at, format!("url is no URL of ours: {fault}"), None);
            None
        }
        _ => Some(url),
    }
}

fn expression_or(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    key: &Key,
    default: &str,
) -> Option<Arc<Expression>> {
    match table.entry(key) {
        Some(_) => reader.expression(table, key).map(Arc::new),
        None => Expression::compile(default).ok().map(Arc::new),
    }
}

fn plain_headers(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Vec<(String, Redacted)>> {
    let texts = reader.texts(table, &keys::PLAIN_HEADERS)?;
    let mut headers = Vec::with_capacity(texts.len());
    for (name, value) in texts {
        let name = name.to_ascii_lowercase();
        if let Some(fault) = header_fault(&name, value.expose()) {
            if let Some(entry) = table.entry(&keys::PLAIN_HEADERS) {
                reader.diagnostics.error(&entry.at, fault, None);
            }
            return None;
        }
        headers.push((name, value));
    }
    Some(headers)
}

/// What is wrong with a header field, if anything. The value is not shown: it may be a secret.
fn header_fault(name: &str, value: &str) -> Option<String> {
    // RFC 9110, section 5.6.2.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Some(format!("{name:?} is not the name of a header field"));
    }
    if OWN_FIELDS.contains(&name) {
        return Some(format!("the header field {name} is written by the client itself"));
    }
    let ends = value.contains(['\r', '\n', '\0']);
    ends.then(|| format!("the header field {name} has a line end in its value"))
}

/// The stage `http`.
pub(super) fn http(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    name: Option<&str>,
    backends: &mut Backends<'_, '_>,
) -> Option<StageKind> {
    let backend = backend(reader, table, name, backends);
    let mut expression =
        |key| optional(reader, table, key, |reader, key| reader.expression(table, key).map(Arc::new));
    let body = expression(&keys::BODY);
    let tenant = expression(&keys::TENANT);
    let method = match table.entry(&keys::METHOD) {
        Some(_) => reader.choice(table, &keys::METHOD).map(method),
        None => Some(if table.entry(&keys::BODY).is_some() { Method::Post } else { Method::Get }),
    };
    let relative = backend.and_then(|backend| backends.has_endpoints(backend));
    let target = target(reader, table, relative);
    let headers = headers(reader, table);
    let statuses = statuses(reader, table);
    let into = reader.field(table, &keys::INTO);
    let keep = keep(reader, table);
    let set = reader.expressions(table, &keys::SET);
    let idempotency_key = match table.entry(&keys::IDEMPOTENCY_KEY) {
        Some(_) => reader.boolean(table, &keys::IDEMPOTENCY_KEY),
        None => method.map(|method| !method.is_safe()),
    };
    let repeatable = match table.entry(&keys::REPEATABLE) {
        Some(_) => reader.boolean(table, &keys::REPEATABLE),
        None => Some(true),
    };
    let journal = reader.boolean(table, &keys::JOURNAL);
    let draw = optional(reader, table, &keys::DRAW, |reader, key| backends.allowance(reader, table, key));
    let in_flight = reader.integer(table, &keys::HTTP_IN_FLIGHT);
    Some(StageKind::Http(Box::new(HttpSpec {
        backend: backend?,
        method: method?,
        target: target?,
        headers: headers?,
        body: body?,
        statuses: statuses?,
        into: into?,
        keep: keep?,
        set: set?.into_iter().map(|(field, expression)| (field, Arc::new(expression))).collect(),
        idempotency_key: idempotency_key?,
        repeatable: repeatable?,
        journal: journal?,
        draw: draw?,
        tenant: tenant?,
        in_flight: usize::try_from(in_flight?).ok()?,
    })))
}

/// The stage `model`.
pub(super) fn model(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    name: Option<&str>,
    backends: &mut Backends<'_, '_>,
) -> Option<StageKind> {
    let backend = backend(reader, table, name, backends);
    let pages = optional(reader, table, &keys::PAGES, |reader, key| backends.named(reader, table, key));
    let shape = reader.choice(table, &keys::SHAPE).map(|word| match word {
        "chat-completions" => ModelShape::ChatCompletions,
        _ => ModelShape::GenerateContent,
    });
    let model = reader.text(table, &keys::MODEL).map(|model| model.expose().to_owned());
    let url = optional(reader, table, &keys::MODEL_URL, |reader, key| reader.text(table, key));
    if let (Some(Some(url)), Some(entry)) = (&url, table.entry(&keys::MODEL_URL))
        && let Some(fault) = endpoint_fault(url.expose())
    {
        reader.diagnostics.error(&entry.at, format!("the url {url} {fault}"), None);
    }
    let key = optional(reader, table, &keys::MODEL_KEY, |reader, key| reader.text(table, key));
    let prompt = reader.expression(table, &keys::PROMPT);
    let mut expression =
        |key| optional(reader, table, key, |reader, key| reader.expression(table, key).map(Arc::new));
    let text = expression(&keys::MODEL_TEXT);
    let read_url = expression(&keys::READ_URL);
    if let (Some(ModelShape::ChatCompletions), Some(entry)) = (shape, table.entry(&keys::READ_URL)) {
        let hint = "give it `text`, or use shape = \"generate-content\"".to_owned();
        reader.diagnostics.error(
            &entry.at,
            "models of this shape cannot read pages by themselves",
            Some(hint),
        );
    }
    let into = reader.field(table, &keys::MODEL_INTO);
    let tokens_into = reader.field(table, &keys::TOKENS_INTO);
    let keep = keep(reader, table);
    let answer_tokens_max =
        optional(reader, table, &keys::ANSWER_TOKENS_MAX, |reader, key| reader.written_integer(table, key));
    let temperature =
        optional(reader, table, &keys::TEMPERATURE, |reader, key| reader.written_number(table, key));
    let text_chars_max = reader.integer(table, &keys::TEXT_CHARS_MAX);
    let journal = reader.boolean(table, &keys::JOURNAL);
    let draw = optional(reader, table, &keys::DRAW, |reader, key| backends.allowance(reader, table, key));
    let draw_tokens =
        optional(reader, table, &keys::DRAW_TOKENS, |reader, key| backends.allowance(reader, table, key));
    let in_flight = reader.integer(table, &keys::HTTP_IN_FLIGHT);
    Some(StageKind::Model(Box::new(ModelSpec {
        backend: backend?,
        pages: pages?,
        shape: shape?,
        model: model?,
        url: url?,
        key: key?,
        prompt: Arc::new(prompt?),
        text: text?,
        read_url: read_url?,
        into: into?,
        tokens_into: tokens_into?,
        keep: keep?,
        answer_tokens_max: answer_tokens_max?,
        temperature: temperature?,
        text_chars_max: usize::try_from(text_chars_max?).ok()?,
        statuses: Arc::default(),
        journal: journal?,
        draw: draw?,
        draw_tokens: draw_tokens?,
        in_flight: usize::try_from(in_flight?).ok()?,
    })))
}

/// The stage `budget`.
pub(super) fn budget(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    backends: &Backends<'_, '_>,
) -> Option<StageKind> {
    let draw = backends.allowance(reader, table, &keys::BUDGET_DRAW);
    let cost =
        optional(reader, table, &keys::COST, |reader, key| reader.expression(table, key).map(Arc::new));
    Some(StageKind::Budget { draw: draw?, cost: cost? })
}

/// The fields that are carried over. The outer None stands for an error that was noted.
#[expect(clippy::option_option, reason = "an error that was noted, no list, and a list are three things")]
fn keep(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Option<Vec<String>>> {
    optional(reader, table, &keys::KEEP, |reader, key| {
        let list = reader.list(table, key)?;
        Some(list.into_iter().map(|field| field.expose().to_owned()).collect())
    })
}

fn method(word: &str) -> Method {
    match word {
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        _ => Method::Get,
    }
}

/// `relative` says whether the backend knows the hosts; without it nobody knows, and the URL is not held against it.
fn target(reader: &mut Reader<'_, '_>, table: Table<'_>, relative: Option<bool>) -> Option<Target> {
    match (table.entry(&keys::URL), table.entry(&keys::URL_FROM)) {
        (Some(entry), None) => {
            let url = reader.template(table, &keys::URL)?;
            if let Some(fault) = relative.and_then(|relative| url.url_fault(relative)) {
                let hint = "for items that are URLs there is url_from".to_owned();
                reader.diagnostics.error(&entry.at, format!("url is no URL of ours: {fault}"), Some(hint));
                return None;
            }
            Some(Target::Url(url))
        }
        (None, Some(entry)) => {
            if relative == Some(true) {
                let message = "url_from names its own host, and the backend has endpoints".to_owned();
                reader.diagnostics.error(
                    &entry.at,
                    message,
                    Some("use url, or a backend without".to_owned()),
                );
                return None;
            }
            reader.expression(table, &keys::URL_FROM).map(|from| Target::Item(Arc::new(from)))
        }
        (None, None) => {
            reader.missing(table, &keys::URL);
            None
        }
        (Some(_), Some(entry)) => {
            let message = format!("{} has two targets", table.called);
            reader.diagnostics.error(&entry.at, message, Some("keep url or url_from".to_owned()));
            None
        }
    }
}

/// Fields that the client writes by itself, or that belong to a connection.
const OWN_FIELDS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "te", "upgrade"];

fn headers(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Vec<(String, Template)>> {
    let Some(entry) = table.entry(&keys::HEADERS) else { return Some(Vec::new()) };
    let Raw::Table(members) = &entry.value else {
        let message = format!("headers takes a table of names and texts, found {}", entry.value.described());
        reader.diagnostics.error(&entry.at, message, None);
        return None;
    };
    let mut headers = Vec::with_capacity(members.len());
    for member in members {
        let name = member.key.to_ascii_lowercase();
        let Raw::Text(text) = &member.entry.value else {
            let message = format!("{} takes a text, found {}", member.key, member.entry.value.described());
            reader.diagnostics.error(&member.entry.at, message, None);
            continue;
        };
        if let Some(fault) = header_fault(&name, text) {
            reader.diagnostics.error(&member.entry.at, fault, None);
            continue;
        }
        if let Some(value) = reader.template_of(text, &member.entry.at) {
            headers.push((name, value));
        }
    }
    (headers.len() == members.len()).then_some(headers)
}

fn statuses(reader: &mut Reader<'_, '_>, table: Table<'_>) -> Option<Arc<Statuses>> {
    let Statuses { success, retry } = Statuses::default();
    let success = status_ranges(reader, table, &keys::SUCCESS, success);
    let retry = status_ranges(reader, table, &keys::RETRY_ON, retry);
    Some(Arc::new(Statuses { success: success?, retry: retry? }))
}

fn status_ranges(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    key: &Key,
    default: Vec<StatusRange>,
) -> Option<Vec<StatusRange>> {
    let Some(entry) = table.entry(key) else { return Some(default) };
    let list = reader.list(table, key)?;
    let status = |text: &Redacted, reader: &mut Reader<'_, '_>, at: &At| {
        let range = StatusRange::parse(text.expose());
        if range.is_none() {
            let hint = "they are written \"404\", \"200-299\" or \"2xx\"".to_owned();
            reader.diagnostics.error(at, format!("{:?} is not a status", text.written()), Some(hint));
        }
        range
    };
    let ranges: Vec<_> = list.iter().map(|text| status(text, reader, &entry.at)).collect();
    ranges.into_iter().collect()
}
