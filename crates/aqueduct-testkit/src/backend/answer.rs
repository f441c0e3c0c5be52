use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::service::Call;

pub(super) const JSON: &str = "application/json";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
pub(super) const BYTES: &str = "application/octet-stream";

/// What a route says. Cheap to clone, however long it is.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    content_type: &'static str,
    fields: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
    /// What the route takes on top of the latency.
    pub(super) delay: Duration,
    /// Records that are stored when this is carried out.
    pub(super) records: u64,
}

/// The bytes of an answer.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Made for this answer.
    Own(Bytes),
    /// Of a page, which is there anyway.
    Shared(Bytes),
    /// A beginning, a piece that comes so many times, and an end: any length in the memory of a piece.
    Repeated { head: Bytes, piece: Bytes, times: u64, tail: Bytes },
}

impl Answer {
    pub(super) fn new(status: StatusCode, content_type: &'static str, content: Content) -> Self {
        Self { status, content_type, fields: Vec::new(), content, delay: Duration::ZERO, records: 0 }
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, JSON, Content::Own(value.to_string().into()))
    }

    pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::new(status, TEXT, Content::Own(text.into()))
    }

    /// An error in the form in which the services that are played here tell theirs.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let reason = status.canonical_reason().unwrap_or("unknown");
        let error = json!({ "code": status.as_u16(), "message": message, "status": reason });
        Self::json(status, &json!({ "error": error }))
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    /// Adds a field. A value that no field can have is left out.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.push((name, value));
        }
        self
    }

    /// The bytes that are in memory for this answer alone.
    pub(super) fn own_bytes(&self) -> usize {
        match &self.content {
            Content::Own(bytes) => bytes.len(),
            Content::Shared(_) => 0,
            Content::Repeated { head, piece, tail, .. } => head.len() + piece.len() + tail.len(),
        }
    }

    /// The response, which ends the call when its last byte is taken.
    pub(super) fn into_response(self, method: &Method, call: Option<Call>) -> Response<AnswerBody> {
        let bare = *method == Method::HEAD
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let mut body = AnswerBody::new(self.content, call);
        let length = body.left;
        if bare {
            body.parts = [const { (Bytes::new(), 0) }; 3];
            body.left = 0;
        }
        body.finish_when_empty();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if *method == Method::HEAD {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        fields.extend(self.fields);
        response
    }
}

/// The bytes of an answer on their way. Dropped before the end, they were given up.
#[derive(Debug)]
pub(super) struct AnswerBody {
    /// What is left: pieces, and how often each comes.
    parts: [(Bytes, u64); 3],
    left: u64,
    call: Option<Call>,
}

impl AnswerBody {
    fn new(content: Content, call: Option<Call>) -> Self {
        let parts = match content {
            Content::Own(bytes) | Content::Shared(bytes) => {
                [(bytes, 1), (Bytes::new(), 0), (Bytes::new(), 0)]
            }
            Content::Repeated { head, piece, times, tail } => [(head, 1), (piece, times), (tail, 1)],
        };
        let left = parts.iter().map(|(bytes, times)| (bytes.len() as u64).saturating_mul(*times)).sum();
        Self { parts, left, call }
    }

    fn finish_when_empty(&mut self) {
        if self.left == 0
            && let Some(call) = self.call.take()
        {
            call.finish();
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.parts.iter_mut().find(|(bytes, times)| *times > 0 && !bytes.is_empty());
        let Some((bytes, times)) = next else { return Poll::Ready(None) };
        *times -= 1;
        let bytes = if *times == 0 { std::mem::take(bytes) } else { bytes.clone() };
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.finish_when_empty();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
