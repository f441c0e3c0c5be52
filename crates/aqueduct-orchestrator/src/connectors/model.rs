//! The stage `model`: a language model that is asked about each item.

mod shape;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aqueduct_core::{Classified, Clock, Item, Payload, Phase, Record, RecordBuilder};
use aqueduct_stream::{AsyncStage, ConfigError, Outcome, Progress, StageError};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value as Json};

use super::backend::Backend;
use super::exchange::Outgoing;
use super::figures::Figures;
use super::http::stage::evaluated;
use crate::allowance::Allowance;
use crate::expression::{Expression, Value, html_text};
use crate::spec::{Method, ModelSpec, Statuses};

use shape::Reply;

/// A model that is asked about each item.
pub(crate) struct Model {
    pub(crate) spec: ModelSpec,
    pub(crate) backend: Arc<Backend>,
    /// Where pages are fetched that the model could not read by itself.
    pub(crate) pages: Option<Arc<Backend>>,
    /// Tokens, which are known only afterwards.
    pub(crate) tokens: Option<Arc<Allowance>>,
    /// What is drawn once for each item.
    pub(crate) allowance: Option<Arc<Allowance>>,
    /// What stands before the item's id in its Idempotency-Key.
    pub(crate) scope: String,
    pub(crate) clock: Clock,
    pub(crate) progress: Arc<Progress>,
    pub(crate) figures: Figures,
    pub(crate) asked: Asked,
}

/// What requirement E5 counts, under its names. A run is a batch: each begins with zeros. Relaxed: each figure is right
/// by itself.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    total_requests: AtomicU64,
    successful_requests: AtomicU64,
    failed_requests: AtomicU64,
    fallback_requests: AtomicU64,
    total_tokens: AtomicU64,
    total_processing_micros: AtomicU64,
}

impl Asked {
    #[expect(clippy::cast_precision_loss, reason = "means for people")]
    fn write(&self, figures: &mut Map<String, Json>) {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let total = get(&self.total_requests);
        let successful = get(&self.successful_requests);
        let tokens = get(&self.total_tokens);
        let seconds = get(&self.total_processing_micros) as f64 / 1e6;
        // Two decimals, as the system had it that these names come from.
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let mean = |sum: f64, count: u64| if count == 0 { 0.0 } else { rounded(sum / count as f64) };
        let all: [(&str, Json); 9] = [
            ("total_requests", total.into()),
            ("successful_requests", successful.into()),
            ("failed_requests", get(&self.failed_requests).into()),
            ("fallback_requests", get(&self.fallback_requests).into()),
            ("total_tokens", tokens.into()),
            ("total_processing_time", rounded(seconds).into()),
            ("success_rate_percent", mean(100.0 * successful as f64, total).into()),
            ("average_tokens", mean(tokens as f64, successful).into()),
            ("average_time_seconds", mean(seconds, total).into()),
        ];
        figures.extend(all.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// What a model is given beside the prompt.
enum Given {
    /// Nothing but the prompt.
    Nothing,
    /// A text.
    Text(String),
    /// A URL that it reads by itself.
    Url(String),
}

impl Model {
    async fn answer(&self, item: &Item, record: &Record) -> Result<(Reply, u32), StageError> {
        let prompt = self.text_of("prompt", &self.spec.prompt, record)?;
        let text = match &self.spec.text {
            Some(text) => Some(self.text_of("text", text, record)?).filter(|text| !text.trim().is_empty()),
            None => None,
        };
        let url = match &self.spec.read_url {
            Some(url) => Some(self.text_of("read_url", url, record)?).filter(|url| !url.is_empty()),
            None => None,
        };
        let Some(url) = url else {
            let given = text.map_or(Given::Nothing, Given::Text);
            return self.ask(item, &prompt, &given, 0).await;
        };
        let (failure, attempts) = match self.ask(item, &prompt, &Given::Url(url.clone()), 0).await {
            Ok((reply, attempts)) if reply.read => return Ok((reply, attempts)),
            Ok((reply, attempts)) => (reply.why_unread(), attempts),
            // A model that is down is down for the fallback, too.
            Err(error) if error.class().is_retryable() || error.stops() => return Err(error),
            Err(error) => (error.to_string(), error.attempts()),
        };
        self.asked.fallback_requests.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(stage = self.scope, item = %item.id, reason = failure, "the model could not read the page; it is fetched");
        let text = match text {
            Some(text) => text,
            None => self.fetch(&url).await?,
        };
        let (reply, more) = self.ask(item, &prompt, &Given::Text(text), 1).await?;
        Ok((reply, attempts + more))
    }

    /// Makes one request. `call` counts those of one item.
    async fn ask(
        &self,
        item: &Item,
        prompt: &str,
        given: &Given,
        call: u32,
    ) -> Result<(Reply, u32), StageError> {
        if let Some(tokens) = &self.tokens {
            tokens.open()?;
        }
        let spec = &self.spec;
        let cut = |text: &str| text.chars().take(spec.text_chars_max).collect::<String>();
        let (prompt, url) = match given {
            Given::Nothing => (prompt.to_owned(), None),
            Given::Text(text) => (format!("{prompt}\n\n{}", cut(text)), None),
            Given::Url(url) => (format!("{prompt}\n\n{url}"), Some(url.as_str())),
        };
        let body = spec.shape.request(spec, &prompt, url);
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            // Another call of one item is another request, so it has another key.
            ("idempotency-key".to_owned(), format!("{}{}/{call}", self.scope, item.id)),
        ];
        if let Some(key) = &spec.key {
            headers.push(spec.shape.key_header(key.expose()));
        }
        let outgoing = Outgoing {
            method: Method::Post,
            target: spec.shape.target(spec),
            headers,
            body: Bytes::from(body.to_string()),
            statuses: Arc::clone(&self.spec.statuses),
            repeatable: true,
            may_be_old: true,
        };
        let begun = self.clock.now();
        self.asked.total_requests.fetch_add(1, Ordering::Relaxed);
        let answer = self.backend.call(&outgoing, "", Phase::Draining, &self.figures).await;
        let took = u64::try_from(self.clock.now().since(begun).as_micros()).unwrap_or(u64::MAX);
        self.asked.total_processing_micros.fetch_add(took, Ordering::Relaxed);
        let attempts = answer.as_ref().map_or_else(StageError::attempts, |answer| answer.attempts);
        self.figures.note(attempts, answer.is_err());
        self.progress.retried(u64::from(attempts.saturating_sub(1)));
        let reply = answer.and_then(|answer| spec.shape.reply(answer.response.body(), url.is_some()));
        match reply {
            Ok(reply) => {
                self.asked.total_tokens.fetch_add(reply.tokens, Ordering::Relaxed);
                if let Some(tokens) = &self.tokens {
                    tokens.spend(reply.tokens);
                }
                self.asked.successful_requests.fetch_add(1, Ordering::Relaxed);
                Ok((reply, attempts))
            }
            Err(error) => {
                self.asked.failed_requests.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The text of a page.
    async fn fetch(&self, url: &str) -> Result<String, StageError> {
        let Some(pages) = &self.pages else {
            let message = "the model could not read the page, and there is neither text nor pages to give it";
            return Err(StageError::permanent(message));
        };
        let outgoing = Outgoing {
            method: Method::Get,
            target: url.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            statuses: Arc::new(Statuses::default()),
            repeatable: true,
            may_be_old: true,
        };
        let answer = pages.call(&outgoing, "", Phase::Draining, &self.figures).await?;
        let page = answer
            .response
            .text()
            .map_err(|error| StageError::permanent("the page cannot be read").with_source(error))?;
        let text = html_text(&page);
        if text.trim().is_empty() {
            return Err(StageError::permanent("the page has no text"));
        }
        Ok(text)
    }

    fn text_of(&self, what: &str, expression: &Expression, record: &Record) -> Result<String, StageError> {
        match evaluated(what, expression, record)? {
            Value::Text(text) => Ok(text.into_owned()),
            other => {
                let found = other.value_type().described();
                Err(StageError::permanent(format!("{what} gives {found}, and must give a text")))
            }
        }
    }
}

#[async_trait]
impl AsyncStage for Model {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        if let Some(allowance) = &self.allowance {
            allowance.draw(1)?;
        }
        let (reply, _) = self.answer(item, &record).await?;
        let spec = &self.spec;
        let own = |key: &str| key == spec.into || key == spec.tokens_into;
        let mut builder = RecordBuilder::with_capacity(record.as_bytes().len() + reply.text.len() + 64);
        match &spec.keep {
            Some(keep) => {
                for key in keep.iter().filter(|key| !own(key)) {
                    if let Some(value) = record.get(key) {
                        builder.raw(key, value);
                    }
                }
            }
            None => {
                for (key, value) in record.fields().filter(|(key, _)| !own(key)) {
                    builder.raw_escaped(key, value);
                }
            }
        }
        builder.text(&spec.into, &reply.text);
        builder.integer(&spec.tokens_into, i64::try_from(reply.tokens).unwrap_or(i64::MAX));
        Ok(Outcome::Emit(Payload::Record(builder.finish())))
    }

    fn concurrency(&self) -> usize {
        self.spec.in_flight
    }

    fn describe(&self) -> Option<String> {
        Some(self.backend.describe())
    }

    async fn open(&self) -> Result<(), ConfigError> {
        self.backend.ready()?;
        self.pages.as_ref().map_or(Ok(()), |pages| pages.ready().map(drop))
    }

    async fn close(&self) {
        self.backend.close().await;
        if let Some(pages) = &self.pages {
            pages.close().await;
        }
    }

    fn figures(&self) -> Map<String, Json> {
        let mut figures = Map::new();
        self.asked.write(&mut figures);
        self.figures.write(&mut figures);
        self.backend.write(&mut figures);
        for allowance in self.allowance.iter().chain(&self.tokens) {
            allowance.write(&mut figures);
        }
        figures
    }
}
