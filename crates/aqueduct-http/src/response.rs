use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aqueduct_core::Timestamp;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::BodyError;

/// What a server has answered, all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    url: Url,
}

impl Response {
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: Bytes, url: Url) -> Self {
        Self { status, headers, body, url }
    }

    /// Puts together again what was taken apart and kept elsewhere; `None` where the address is none.
    #[must_use]
    pub fn from_parts(status: StatusCode, headers: HeaderMap, body: Bytes, url: &str) -> Option<Self> {
        Some(Self::new(status, headers, body, Url::parse(url).ok()?))
    }

    /// What the server says came of it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers. Those that describe a compressed body are gone with the compression.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body, decompressed.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its body, without the rest.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// Where it came from, after all redirects. It has the query in it, which may be secret.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// How long the server asks to wait: the `retry-after` as seconds, or as a date, which is none when it has passed.
    /// There is no bound on it: a caller has one of its own. `now` is what the caller's clock says.
    #[must_use]
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
        let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
        Some(date.saturating_sub(now))
    }

    /// The type of the body without its parameters, in lower case: `text/html`.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let (essence, _) = self.typed()?;
        (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
    }

    /// The body as text. As `utf-8`, which it is without a character set too, a mark of its byte order is left out and
    /// what is no character becomes U+FFFD. As `iso-8859-1`, `latin1`, `us-ascii` or `windows-1252` each byte is the character of
    /// its number, so that nothing is lost; the 27 characters that `windows-1252` has of its own become control characters.
    ///
    /// # Errors
    ///
    /// [`BodyError::Charset`] for another character set.
    pub fn text(&self) -> Result<Cow<'_, str>, BodyError> {
        let charset = self.typed().and_then(|(_, parameters)| charset(parameters)).unwrap_or("utf-8");
        match charset.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => {
                Ok(String::from_utf8_lossy(self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body)))
            }
            "iso-8859-1" | "latin1" | "latin-1" | "us-ascii" | "windows-1252" => {
                Ok(self.body.iter().copied().map(char::from).collect::<String>().into())
            }
            _ => Err(BodyError::Charset { found: charset.to_owned() }),
        }
    }

    /// The body as JSON. The type must be one of JSON (`application/json`, `application/problem+json`), where there is one.
    ///
    /// # Errors
    ///
    /// [`BodyError::ContentType`] with the other type, [`BodyError::Json`] with the place of what is wrong.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, BodyError> {
        if let Some(found) = self.content_type().filter(|found| !is_json(found)) {
            return Err(BodyError::ContentType { found });
        }
        serde_json::from_slice(&self.body).map_err(BodyError::Json)
    }

    /// The type and its parameters.
    fn typed(&self) -> Option<(&str, &str)> {
        let value = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        Some((essence.trim(), parameters))
    }
}

fn is_json(essence: &str) -> bool {
    matches!(essence, "application/json" | "text/json") || essence.ends_with("+json")
}

fn charset(parameters: &str) -> Option<&str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query and the values of headers may be secret.
        let mut at = self.url.clone();
        at.set_query(None);
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("at", &at.as_str())
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
