//! The source `http`: the items of a list that a service gives page by page.

use std::sync::Arc;

use aqueduct_core::json::{Kind, RawJson};
use aqueduct_core::{Classified, PartitionId, Phase, Position, Record};
use aqueduct_stream::{
    Chunk, ChunkContent, Decode, DecodeError, Decoded, Guarantee, Source, SourceContext, SourceError,
    StageError,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::answer;
use crate::connectors::backend::Backend;
use crate::connectors::exchange::Outgoing;
use crate::connectors::figures::Figures;
use crate::expression::{Expression, Value};
use crate::spec::{HttpSourceSpec, Method, Paging};
use crate::template::encode;

/// Reads a list page by page; it holds one page.
pub(crate) struct HttpSource {
    spec: HttpSourceSpec,
    backend: Arc<Backend>,
    context: Option<SourceContext>,
    partition: PartitionId,
    /// Where the next page is; `None` behind the last.
    next: Option<Place>,
    /// What is left of the page that was read last.
    page: Option<Page>,
    figures: Figures,
}

/// A page that is being given out.
struct Page {
    items: std::vec::IntoIter<String>,
    /// The first item that is left.
    at: Place,
    /// Where the page behind it is.
    next: Option<Step>,
}

/// How far a list is read: a page, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    format: u32,
    page: Step,
    /// How many items of the page are done.
    skip: u64,
    /// How many items there are in front, over all pages.
    items: u64,
}

/// What names a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// The first one.
    First,
    /// The one that begins with this item, counted from 0.
    Offset(u64),
    /// The one of this cursor.
    Cursor(String),
    /// The one at this address.
    Link(String),
}

/// What stands in front of the items of a chunk: where they are, and what is behind them.
#[derive(Serialize, Deserialize)]
struct Head {
    at: Place,
    /// The place behind the chunk.
    end: Place,
}

/// The version of the position's text.
const FORMAT: u32 = 1;

impl HttpSource {
    pub(crate) fn new(spec: HttpSourceSpec, backend: Arc<Backend>) -> Self {
        Self {
            spec,
            backend,
            context: None,
            partition: PartitionId::default(),
            next: None,
            page: None,
            figures: Figures::default(),
        }
    }

    /// The address of a page.
    fn address(&self, step: &Step) -> String {
        let base = self.spec.url.expose();
        let with = |parameters: &[(&str, &str)]| {
            let (path, query) = base.split_once('?').unwrap_or((base, ""));
            // What the URL has of these itself is for the first page.
            let own = |pair: &&str| {
                let name = pair.split('=').next().unwrap_or_default();
                !pair.is_empty() && parameters.iter().all(|(set, _)| *set != name)
            };
            let mut url = path.to_owned();
            for (number, pair) in query.split('&').filter(own).enumerate() {
                url.push(if number == 0 { '?' } else { '&' });
                url.push_str(pair);
            }
            for (name, value) in parameters {
                url.push(if url.contains('?') { '&' } else { '?' });
                encode(name, &mut url);
                url.push('=');
                encode(value, &mut url);
            }
            url
        };
        match (&self.spec.paging, step) {
            (_, Step::Link(url)) => url.clone(),
            (Paging::Offset { offset, limit, size }, Step::First) => {
                with(&[(offset, "0"), (limit, &size.to_string())])
            }
            (Paging::Offset { offset, limit, size }, Step::Offset(at)) => {
                with(&[(offset, &at.to_string()), (limit, &size.to_string())])
            }
            (Paging::Cursor { parameter, .. }, Step::Cursor(cursor)) => with(&[(parameter, cursor)]),
            _ => base.to_owned(),
        }
    }

    /// Reads a page. `None` when the run drains.
    fn read(&mut self, place: Place) -> Result<Option<Page>, SourceError> {
        let Some(context) = self.context.clone() else { return Err(self.remote("it was not started", None)) };
        let outgoing = Outgoing {
            method: Method::Get,
            target: self.address(&place.page),
            headers: self
                .spec
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect(),
            body: Bytes::new(),
            statuses: Arc::clone(&self.spec.statuses),
            repeatable: true,
            may_be_old: false,
        };
        let mut shutdown = context.shutdown.clone();
        let called = context.runtime.block_on(async {
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => None,
                answer = self.backend.call(&outgoing, "", Phase::Draining, &self.figures) => Some(answer),
            }
        });
        let answer = match called {
            None => return Ok(None),
            Some(Ok(answer)) => answer,
            Some(Err(error)) => return Err(self.remote("a page cannot be read", Some(error))),
        };
        let object =
            answer::object(&answer).map_err(|error| self.remote("a page cannot be read", Some(error)))?;
        let record = Record::parse(format!("{{\"response\":{object}}}").into_bytes())
            .map_err(|error| self.remote(&format!("a page cannot be read: {error}"), None))?;
        let all = self.items(&record)?;
        let link = answer::link_next(&answer).map(|link| self.resolved(&link, &answer.url)).transpose()?;
        let next = self.behind(&place, &record, all.len() as u64, link)?;
        let skip = usize::try_from(place.skip).unwrap_or(usize::MAX).min(all.len());
        let mut items = all.into_iter();
        items.by_ref().take(skip).for_each(drop);
        Ok(Some(Page { items, at: place, next }))
    }

    /// The items of a page, each as JSON in one line.
    fn items(&self, page: &Record) -> Result<Vec<String>, SourceError> {
        let value = self.evaluated("items", &self.spec.items, page)?;
        let text = match &value {
            Value::Json(json) if json.kind() == Kind::Array => json.as_text().to_owned(),
            Value::Built(text) if text.starts_with('[') => text.clone(),
            other => {
                let found = other.value_type().described();
                return Err(self.remote(&format!("items gives {found}, and must give a list"), None));
            }
        };
        let list = RawJson::parse(&text).map_err(|error| self.remote(&error.to_string(), None))?;
        let line = |item: RawJson<'_>| item.as_text().replace(['\n', '\r'], " ");
        Ok(list.entries().map(|(_, item)| line(item)).collect())
    }

    /// What names the page behind this one; `None` where this one is the last.
    fn behind(
        &self,
        place: &Place,
        page: &Record,
        items: u64,
        link: Option<String>,
    ) -> Result<Option<Step>, SourceError> {
        match &self.spec.paging {
            Paging::None => Ok(None),
            // A service may give fewer than it was asked for, so only an empty page is the end.
            Paging::Offset { .. } if items == 0 => Ok(None),
            Paging::Offset { .. } => {
                let at = if let Step::Offset(at) = place.page { at } else { 0 };
                Ok(Some(Step::Offset(at + items)))
            }
            Paging::Cursor { next, .. } => {
                let cursor = match next.evaluate(page) {
                    Ok(Value::Text(cursor)) => cursor.into_owned(),
                    Ok(Value::Int(cursor)) => cursor.to_string(),
                    // Services leave the field out of the last page, or write null or nothing into it.
                    Ok(Value::Null) | Err(_) => String::new(),
                    Ok(other) => {
                        let found = other.value_type().described();
                        return Err(self.remote(&format!("next gives {found}, and must give a text"), None));
                    }
                };
                let step = Step::Cursor(cursor);
                match step {
                    Step::Cursor(cursor) if cursor.is_empty() => Ok(None),
                    step if step == place.page => {
                        Err(self
                            .remote("a page names itself as the next one; the list would never end", None))
                    }
                    step => Ok(Some(step)),
                }
            }
            Paging::Link => match link.map(Step::Link) {
                Some(step) if step == place.page => {
                    Err(self.remote("a page links to itself as the next one; the list would never end", None))
                }
                step => Ok(step),
            },
        }
    }

    /// The address that a link of a page means. A list does not lead to other hosts: what it named there would be called
    /// with our header fields.
    fn resolved(&self, link: &str, page: &str) -> Result<String, SourceError> {
        let (origin, path) = split(page);
        let target = match link {
            link if link.starts_with("//") => String::new(),
            link if link.starts_with('/') => format!("{origin}{link}"),
            link if link.starts_with('?') => {
                format!("{origin}{}{link}", path.split('?').next().unwrap_or_default())
            }
            link => link.to_owned(),
        };
        let (link_origin, link_path) = split(&target);
        if link_origin != origin || origin.is_empty() {
            return Err(self.remote(
                &format!("a page links to {link_origin:?} as the next one, which is another host"),
                None,
            ));
        }
        // On endpoints it is a path, and may go to any of them.
        let relative = self.spec.url.expose().starts_with('/');
        Ok(if relative { link_path.to_owned() } else { target.clone() })
    }

    fn evaluated<'a>(
        &self,
        what: &str,
        expression: &'a Expression,
        page: &'a Record,
    ) -> Result<Value<'a>, SourceError> {
        expression.evaluate(page).map_err(|error| {
            let error = StageError::permanent(format!("{what} cannot be computed")).with_source(error);
            self.remote("a page cannot be read", Some(error))
        })
    }

    fn remote(&self, message: &str, source: Option<StageError>) -> SourceError {
        SourceError::Remote {
            source_name: self.describe(),
            message: message.to_owned(),
            class: source.as_ref().map_or(aqueduct_core::ErrorClass::Permanent, Classified::class),
            source: source.map(Into::into),
        }
    }
}

impl Source for HttpSource {
    fn describe(&self) -> String {
        format!("http {}", self.spec.url)
    }

    fn guarantee(&self) -> (Guarantee, String) {
        let reason = "a page is asked for again by its place, so what the service moves between pages meanwhile may come twice \
                      or not at all";
        (Guarantee::EffectivelyOnce, reason.to_owned())
    }

    fn start(&mut self, context: &SourceContext) {
        self.context = Some(context.clone());
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        self.backend.ready().map_err(SourceError::Config)?;
        Ok(vec![self.spec.url.written().to_owned()])
    }

    fn connect(&mut self) -> Result<(), SourceError> {
        self.backend.ready().map_err(SourceError::Config)?;
        self.read(Place::first()).map(drop)
    }

    fn open(
        &mut self,
        _index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        self.partition = id;
        self.page = None;
        self.next = Some(match position {
            None => Place::first(),
            Some(position) => Place::read(position)?,
        });
        Ok(())
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        loop {
            if self.page.as_ref().is_none_or(|page| page.items.len() == 0) {
                let Some(place) = self.next.take() else { return Ok(None) };
                let Some(page) = self.read(place.clone())? else {
                    self.next = Some(place);
                    return Ok(None);
                };
                self.next = page.next.clone().map(|step| Place {
                    format: FORMAT,
                    page: step,
                    skip: 0,
                    items: page.at.items + page.items.len() as u64,
                });
                self.page = Some(page);
                continue;
            }
            return Ok(self.page.as_mut().map(|page| page.chunk(self.partition, items_max)));
        }
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(PageDecoder)
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }
}

impl Page {
    /// The next items, at most so many.
    fn chunk(&mut self, partition: PartitionId, items_max: usize) -> Chunk {
        let lines: Vec<String> = self.items.by_ref().take(items_max).collect();
        let at = self.at.clone();
        let done = lines.len() as u64;
        let within = Place { skip: at.skip + done, items: at.items + done, ..at.clone() };
        // The last page is asked for once more by the next run, which then sees whether it has grown.
        let end = match &self.next {
            Some(step) if self.items.len() == 0 => Place { page: step.clone(), skip: 0, ..within.clone() },
            _ => within.clone(),
        };
        self.at = within;
        let (offset, end_offset) = (at.items, end.items);
        let head =
            serde_json::to_string(&Head { at, end }).expect("a struct of numbers and texts is always JSON");
        let size = head.len() + lines.iter().map(|line| line.len() + 1).sum::<usize>() + 1;
        let mut bytes = Vec::with_capacity(size);
        for line in std::iter::once(&head).chain(&lines) {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        Chunk {
            partition,
            offset,
            end: end_offset,
            line: offset + 1,
            items: lines.len(),
            weight: bytes.len(),
            content: ChunkContent::Bytes { bytes: bytes.into(), unterminated: false },
        }
    }
}

impl Place {
    fn first() -> Self {
        Self { format: FORMAT, page: Step::First, skip: 0, items: 0 }
    }

    fn read(position: &Position) -> Result<Self, SourceError> {
        let unreadable = || SourceError::Position { text: position.as_str().chars().take(200).collect() };
        let place: Self = serde_json::from_str(position.as_str()).map_err(|_| unreadable())?;
        if place.format == FORMAT { Ok(place) } else { Err(unreadable()) }
    }

    fn write(&self) -> Position {
        Position::new(serde_json::to_string(self).expect("a struct of numbers and texts is always JSON"))
    }
}

/// Scheme and host of a URL, and what is behind them.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    url.split_at(if host == 0 { 0 } else { end })
}

/// Takes the items of a chunk apart: the first line says where they are.
struct PageDecoder;

impl PageDecoder {
    fn head(chunk: &Chunk) -> Option<(Head, Bytes)> {
        let ChunkContent::Bytes { bytes, .. } = &chunk.content else { return None };
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = serde_json::from_slice(&bytes[..end]).ok()?;
        Some((head, bytes.slice(end + 1..)))
    }
}

impl Decode for PageDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        // The source writes the head itself; without one there are no items, which the ledger would show.
        let Some((_, lines)) = Self::head(chunk) else { return Vec::new() };
        let mut items = Vec::with_capacity(chunk.items);
        let mut start = 0;
        while let Some(length) = lines[start..].iter().position(|byte| *byte == b'\n') {
            let original = lines.slice(start..start + length);
            let number = items.len() as u64;
            let line = chunk.line + number;
            let record = Record::parse(original.clone()).map_err(|source| DecodeError::Json {
                line,
                cut_off: false,
                source,
            });
            items.push(Decoded { offset: chunk.offset + number, line, original, record });
            start += length + 1;
        }
        items
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        Record::parse(original.clone()).map_err(|source| DecodeError::Json {
            line: 1,
            cut_off: false,
            source,
        })
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        let Some((Head { at, end }, _)) = Self::head(chunk) else { return Place::first().write() };
        match offset {
            None => end.write(),
            Some(offset) => {
                let done = offset.saturating_sub(chunk.offset);
                Place { skip: at.skip + done, items: at.items + done, ..at }.write()
            }
        }
    }
}
