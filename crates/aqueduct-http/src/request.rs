use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::error::{HeaderFault, HttpError};
use crate::target::Target;

/// What to send, and where. It is checked when it is called, so that it can be written in one go.
#[derive(Clone)]
#[must_use = "a request does nothing until a client calls it"]
pub struct Request {
    pub(crate) method: Method,
    url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The first header that cannot be sent.
    fault: Option<(String, HeaderFault)>,
}

/// What says how the message is framed, and to whom this connection is. A caller who could set them could hide a second
/// request in the first one, or ask one host for what belongs to another.
const OWN: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Request {
    /// A request without a body and with no headers of its own. Nothing is escaped: data in the URL is to be encoded.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Bytes::new(), fault: None }
    }

    /// Adds a header. One that cannot be sent makes the call an error: a name that is none, a value with CR, LF, NUL or
    /// another control character, and those that are the client's own, such as `host` and `content-length`.
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.with(name.as_ref(), value.as_ref(), false)
    }

    /// The same for one that is secret: it is never shown, and no redirect takes it to another origin. `authorization`,
    /// `cookie` and `proxy-authorization` are so in any case.
    pub fn secret_header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.with(name.as_ref(), value.as_ref(), true)
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn with(mut self, name: &str, value: &[u8], secret: bool) -> Self {
        match checked(name, value) {
            Ok((name, mut value)) => {
                value.set_sensitive(secret);
                self.headers.append(name, value);
            }
            Err(fault) => {
                self.fault.get_or_insert_with(|| (name.to_owned(), fault));
            }
        }
        self
    }

    /// Gives where it goes, if all of it can be sent.
    pub(crate) fn check(&self) -> Result<Target, HttpError> {
        match &self.fault {
            Some((name, fault)) => Err(HttpError::Header { name: name.clone(), fault: *fault }),
            None => Target::parse(&self.url),
        }
    }
}

fn checked(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), HeaderFault> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderFault::Name)?;
    if OWN.contains(&name.as_str()) {
        return Err(HeaderFault::Framing);
    }
    Ok((name, HeaderValue::from_bytes(value).map_err(|_| HeaderFault::Value)?))
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query and the values of headers may be secret.
        let at = Target::parse(&self.url)
            .map_or_else(|_| "not a URL that can be called".to_owned(), |to| to.shown());
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("at", &at)
            .field("headers", &self.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
