use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HeaderMap,
    LOCATION, PROXY_AUTHORIZATION,
};
use http::{Method, StatusCode};

use crate::error::HttpError;
use crate::exchange::Call;
use crate::target::Target;

/// Changes a call to where its response leads, and tells whether it leads anywhere.
///
/// Source: Fetch standard of the WHATWG, "HTTP-redirect fetch"; RFC 9110, 15.4.
pub(crate) fn follow(
    call: &mut Call,
    status: StatusCode,
    headers: &HeaderMap,
    redirects_max: usize,
) -> Result<bool, HttpError> {
    if redirects_max == 0 || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(false);
    }
    let Some(location) = headers.get(LOCATION) else { return Ok(false) };
    // A location is ASCII; what is not cannot be where the server meant.
    let next = call.target.join(&String::from_utf8_lossy(location.as_bytes()))?;
    if call.visited.len() >= redirects_max {
        return Err(HttpError::Redirects { at: call.target.shown(), max: redirects_max });
    }
    if next.origin != call.target.origin {
        drop_secrets(&mut call.headers);
    }
    let asked = call.method.clone();
    if status == StatusCode::SEE_OTHER && asked != Method::HEAD
        || matches!(status.as_u16(), 301 | 302) && asked == Method::POST
    {
        drop_body(call);
    }
    let visited = (asked, std::mem::replace(&mut call.target, next));
    call.visited.push(visited);
    if call.visited.iter().any(|(method, target)| *method == call.method && *target == call.target) {
        return Err(HttpError::RedirectLoop { at: Target::shown(&call.target) });
    }
    Ok(true)
}

/// What one origin may know is not for another.
fn drop_secrets(headers: &mut HeaderMap) {
    let mut secret: Vec<_> =
        headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone()).collect();
    secret.extend([AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION]);
    for name in secret {
        headers.remove(name);
    }
}

/// Asks with GET, and with nothing that describes a body.
fn drop_body(call: &mut Call) {
    call.method = Method::GET;
    call.body = bytes::Bytes::new();
    for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE] {
        call.headers.remove(name);
    }
}
