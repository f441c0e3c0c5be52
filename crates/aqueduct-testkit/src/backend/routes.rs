//! What the backend says to a request: pure functions of the request and the script.

mod lists;
mod models;
mod pages;
mod query;
mod shapes;
mod sink;
mod summary;

use std::time::Duration;

use aqueduct_core::Timestamp;
use bytes::Bytes;
use hyper::header::{ALLOW, LOCATION};
use hyper::{Method, StatusCode};
use serde_json::json;

pub use self::summary::summary;

use self::query::{Query, decoded};
use super::answer::Answer;
use super::script::{DELAY_MAX, Script};

/// What `GET /` says.
pub(super) const INDEX: &str = "\
A scripted backend. What is below / and /account is no call: it is always answered and never counted.

GET  /item/ID                  {\"id\":\"ID\",\"score\":S}, S between 0 and 100 made from the id
GET  /pages/NAME               a page of HTML
GET  /list?offset=0&limit=100  numbered records by offset; at most 1000 at once
GET  /list?cursor=&limit=100   the same by cursor: go on with the `next` of the answer, until it is null
GET  /list/linked?limit=100    the same as an array, with the next page in Link: <..>; rel=\"next\"
POST /v1/chat/completions      a chat completion: the first sentences of the given text
POST /v1beta/models/MODEL:generateContent
                               the same in Gemini's shape, with the tool url_context for pages of this backend
POST /sink                     takes a JSON array or JSON lines
     /status/CODE              that status, 200 to 599
     /slow/MS                  an answer after so many milliseconds
GET  /big/BYTES                so many bytes
GET  /bomb?bytes=1073741824    so many zeros, as gzip of a thousandth of it
GET  /redirect/N               N redirects, then an answer
GET  /redirect/loop            redirects to itself
GET  /redirect/to?url=URL      redirects there
GET  /account                  what this backend has seen and done
";

/// A request, and what its answer depends on.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) script: &'a Script,
    /// `http://127.0.0.1:PORT` of the host that was asked.
    pub(super) origin: &'a str,
    /// Those of all hosts.
    pub(super) origins: &'a [String],
    pub(super) wall: Timestamp,
}

/// Answers a request.
pub(super) fn answer(asked: &Asked<'_>) -> Answer {
    let path = asked.path.strip_prefix('/').unwrap_or(asked.path);
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    match (first, rest) {
        ("item", id) if !id.is_empty() => get(asked, || item(id)),
        ("pages", name) => get(asked, || pages::page(asked, name)),
        ("list", "") => get(asked, || lists::list(asked)),
        ("list", "linked") => get(asked, || lists::linked(asked)),
        ("v1", "chat/completions") => post(asked, || models::chat(asked)),
        ("v1beta", call) if call.starts_with("models/") => post(asked, || models::generate(asked, call)),
        ("sink", "") => post(asked, || sink::take(asked.body)),
        ("status", code) => status(code),
        ("slow", ms) => slow(ms),
        ("big", bytes) => get(asked, || shapes::big(bytes)),
        ("bomb", "") => get(asked, || shapes::bomb(asked)),
        ("redirect", to) => get(asked, || redirect(asked, to)),
        _ if asked.script.any_path && pages::named(asked, path).is_some() => {
            get(asked, || pages::page(asked, pages::last(path)))
        }
        _ => Answer::error(StatusCode::NOT_FOUND, "there is no such route; GET / lists them"),
    }
}

fn get(asked: &Asked<'_>, answer: impl FnOnce() -> Answer) -> Answer {
    match *asked.method {
        Method::GET | Method::HEAD => answer(),
        _ => not_allowed("GET, HEAD"),
    }
}

fn post(asked: &Asked<'_>, answer: impl FnOnce() -> Answer) -> Answer {
    if asked.method == Method::POST { answer() } else { not_allowed("POST") }
}

fn not_allowed(allowed: &str) -> Answer {
    let message = format!("this route takes {allowed}");
    Answer::error(StatusCode::METHOD_NOT_ALLOWED, &message).with(ALLOW, allowed)
}

fn item(id: &str) -> Answer {
    let id = decoded(id);
    Answer::json(StatusCode::OK, &json!({ "id": id, "score": score(&id) }))
}

/// Gives the score that `/item/ID` tells of an id, from 0 to 100 with two digits: for who checks results. It is the same on
/// every machine.
#[must_use]
pub fn score(id: &str) -> f64 {
    // The low bits of a multiplication mix worst; the upper half is as good as any.
    let hundredths = u32::try_from((hash(id) >> 32) % 10_001).unwrap_or(0);
    f64::from(hundredths) / 100.0
}

/// FNV-1a (Fowler, Noll and Vo; the constants are those of draft-eastlake-fnv) of the bytes of a text.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn status(code: &str) -> Answer {
    let status = code.parse().ok().filter(|code| (200..600).contains(code)).map(StatusCode::from_u16);
    match status {
        Some(Ok(status)) if status.is_success() => {
            Answer::json(status, &json!({ "status": status.as_u16() }))
        }
        Some(Ok(status)) => Answer::error(status, "as asked"),
        _ => Answer::invalid("a status is a number from 200 to 599"),
    }
}

fn slow(ms: &str) -> Answer {
    match ms.parse().map(Duration::from_millis) {
        Ok(delay) if delay <= DELAY_MAX => {
            let mut answer = Answer::json(StatusCode::OK, &json!({ "delay_ms": delay.as_millis() }));
            answer.delay = delay;
            answer
        }
        _ => Answer::invalid("a delay is a number of milliseconds up to an hour"),
    }
}

/// As many hops as the longest chain of which a client may be expected to see the end, and some.
const HOPS_MAX: u32 = 1_000;

fn redirect(asked: &Asked<'_>, to: &str) -> Answer {
    let location = match to {
        "loop" => "/redirect/loop".to_owned(),
        "to" => match Query::of(asked.query).get("url") {
            Some(url) => url,
            None => return Answer::invalid("say where to: /redirect/to?url=URL"),
        },
        hops => match hops.parse::<u32>() {
            Ok(0) => return Answer::json(StatusCode::OK, &json!({ "redirected": true })),
            Ok(hops) if hops <= HOPS_MAX => format!("/redirect/{}", hops - 1),
            _ => return Answer::invalid("a redirect is loop, to?url=URL, or a number of hops up to 1000"),
        },
    };
    Answer::text(StatusCode::FOUND, "").with(LOCATION, &location)
}
