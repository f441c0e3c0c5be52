//! One call to one endpoint.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass};
use aqueduct_http::{Client, HttpError, Request, Response};
use bytes::Bytes;
use tower_service::Service;

use super::stand_in::StandIn;
use crate::spec::{Method, Statuses};

/// What is sent, wherever the endpoint is.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// A URL, or a path on the endpoints.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) statuses: Arc<Statuses>,
    /// Whether it may be sent again although it may have been carried out.
    pub(crate) repeatable: bool,
    /// Whether an answer from the cache is as good as a new one. A source wants to know what is there now.
    pub(crate) may_be_old: bool,
}

/// Sends a call to one endpoint, and says what its status means.
pub(crate) struct Exchange {
    pub(super) client: Client,
    /// The URL in front of every path; none where calls name their hosts.
    pub(super) base: Option<String>,
    pub(super) stand_in: Arc<StandIn>,
    pub(super) clock: Clock,
}

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is a refusal.
    #[error("{method} {url} was answered {status}{}", reason(text))]
    Status {
        method: &'static str,
        /// Without its query, which may hold a secret.
        url: String,
        status: u16,
        class: ErrorClass,
        retry_after: Option<Duration>,
        /// The beginning of the body, where it is text.
        text: String,
    },
    /// It may have been carried out, and may not be made again.
    #[error("the call may have been carried out and may not be made again")]
    Once(#[source] HttpError),
}

fn reason(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

impl Classified for ExchangeError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Http(error) => error.class(),
            Self::Status { class, .. } => *class,
            Self::Once(_) => ErrorClass::Permanent,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_refusal())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Http(_) | Self::Once(_) => None,
        }
    }
}

impl Exchange {
    async fn send(&self, outgoing: &Outgoing) -> Result<Response, ExchangeError> {
        // Bytes on their way are no wait for the clock.
        let _busy = self.clock.busy();
        let url = match &self.base {
            Some(base) => format!("{base}{}", outgoing.target),
            None => outgoing.target.clone(),
        };
        let called = self.stand_in.instead(&url).unwrap_or_else(|| url.clone());
        let mut request = Request::new(method(outgoing.method), called).body(outgoing.body.clone());
        for (name, value) in &outgoing.headers {
            // What says who asks goes to nobody else, whatever a redirect says.
            request = if SECRET_FIELDS.contains(&name.as_str()) {
                request.secret_header(name, value)
            } else {
                request.header(name, value)
            };
        }
        let response = match self.client.call(request).await {
            Ok(response) => response,
            Err(error) if !outgoing.repeatable && may_have_been_sent(&error) => {
                return Err(ExchangeError::Once(error));
            }
            Err(error) => return Err(error.into()),
        };
        let status = response.status().as_u16();
        tracing::debug!(method = outgoing.method.as_str(), url = plain(&url), status, "answer");
        if outgoing.statuses.is_success(status) {
            return Ok(response);
        }
        let class = match status {
            _ if !outgoing.statuses.is_retry(status) => ErrorClass::Permanent,
            429 => ErrorClass::Overload,
            _ => ErrorClass::Transient,
        };
        Err(ExchangeError::Status {
            method: outgoing.method.as_str(),
            url: plain(&url).to_owned(),
            status,
            class,
            retry_after: response.retry_after(self.clock.wall()),
            text: beginning(&response),
        })
    }
}

/// Header fields that say who asks.
const SECRET_FIELDS: [&str; 5] =
    ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key"];

fn method(method: Method) -> aqueduct_http::Method {
    match method {
        Method::Get => aqueduct_http::Method::GET,
        Method::Head => aqueduct_http::Method::HEAD,
        Method::Post => aqueduct_http::Method::POST,
        Method::Put => aqueduct_http::Method::PUT,
        Method::Patch => aqueduct_http::Method::PATCH,
        Method::Delete => aqueduct_http::Method::DELETE,
    }
}

/// Whether the other side may have seen the request. False only where there was surely no connection.
fn may_have_been_sent(error: &HttpError) -> bool {
    !matches!(
        error,
        HttpError::Url { .. }
            | HttpError::Header { .. }
            | HttpError::Address { .. }
            | HttpError::Busy { .. }
            | HttpError::Unresolved { .. }
            | HttpError::Refused { .. }
            | HttpError::ConnectTimeout { .. }
            | HttpError::Connect { .. }
            | HttpError::Certificate { .. }
            | HttpError::Tls { .. }
    )
}

/// A URL without its query and fragment.
fn plain(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Enough of a body to see what a service complains about.
fn beginning(response: &Response) -> String {
    const LETTERS_MAX: usize = 200;
    let kind = response.content_type().unwrap_or_default();
    if !(kind.starts_with("text/plain") || kind.contains("json")) {
        return String::new();
    }
    let text = response.text().unwrap_or_default();
    let letters = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    letters.take(LETTERS_MAX).collect::<String>().trim().to_owned()
}

impl Service<Outgoing> for Arc<Exchange> {
    type Response = Response;
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, ExchangeError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        // The client's own queue is bounded by its time limit.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        let exchange = Arc::clone(self);
        // Lent and not given: an async function keeps its arguments beside what it makes of them.
        Box::pin(async move { exchange.send(&outgoing).await })
    }
}
