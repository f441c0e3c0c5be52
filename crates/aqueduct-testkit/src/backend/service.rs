use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aqueduct_core::Timestamp;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, DATE, HeaderName, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use super::account::Ending;
use super::answer::{Answer, AnswerBody};
use super::book::Decision;
use super::fate::{Fate, Reply};
use super::host::Shared;
use super::ledger::{Full, KEPT_BYTES_MAX, Settled};
use super::routes::{self, Asked};
use super::script::{RetryAfter, Script};

/// A call that is under way. It ends when its answer is taken; dropped before, it was given up.
#[derive(Debug)]
pub(super) struct Call {
    shared: Arc<Shared>,
    host: usize,
    status: u16,
    /// Whether its connection is being reset.
    cut: Arc<AtomicBool>,
    open: bool,
}

/// Long enough for every id; Stripe takes as much.
const KEY_BYTES_MAX: usize = 255;
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Marks an answer that was kept, as Stripe does.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

impl Call {
    pub(super) fn finish(mut self) {
        self.open = false;
        self.shared.book().end(self.host, Ending::Answered(self.status));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.open {
            // Set by the same task before it drops what it runs, so no ordering is needed.
            let cut = self.cut.load(Ordering::Relaxed);
            self.shared.book().end(self.host, if cut { Ending::Cut } else { Ending::Aborted });
        }
    }
}

/// Takes one request through the script to its response.
pub(super) async fn serve(
    shared: Arc<Shared>,
    host: usize,
    cut: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let (head, body) = request.into_parts();
    // What is about the backend itself is no call.
    match head.uri.path() {
        "/" => return Ok(Answer::text(StatusCode::OK, routes::INDEX).into_response(&head.method, None)),
        "/account" => return Ok(shared.account_answer().into_response(&head.method, None)),
        _ => {}
    }
    let key = key(&head);
    let decision = shared.begin(host, key.unwrap_or(None));
    let mut call = Call { shared: Arc::clone(&shared), host, status: 0, cut, open: true };
    if matches!(decision, Decision::Cut | Decision::Meets(Fate { reply: Reply::Never, .. })) {
        // The connection ends, by the client's patience or with the host, and this with it.
        return std::future::pending().await;
    }
    let script = shared.script();
    let answer = match read(body, script.body_bytes_max).await {
        Ok(body) => match key {
            Ok(key) => decide(&shared, &script, host, &head, key, &body, decision).await,
            Err(message) => Answer::invalid(message),
        },
        Err(Unread::TooLong) => too_long(script.body_bytes_max),
        // The client went away in the middle of its request. There is nobody to answer.
        Err(Unread::Lost) => return std::future::pending().await,
    };
    call.status = answer.status.as_u16();
    Ok(answer.into_response(&head.method, Some(call)))
}

async fn decide(
    shared: &Shared,
    script: &Script,
    host: usize,
    head: &Parts,
    key: Option<&str>,
    body: &Bytes,
    decision: Decision,
) -> Answer {
    let fate = match decision {
        Decision::Meets(fate) => fate,
        Decision::OverQuota(wait) => return over_quota(script, shared.clock.wall(), wait),
        Decision::Full(full) => return ledger_full(script, full),
        Decision::Unavailable | Decision::Cut => {
            return Answer::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "this host is dead for now, by the script",
            );
        }
    };
    let answer = match fate.reply {
        Reply::Failed(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Answer::error(status, "this call fails, by the script")
        }
        Reply::Served | Reply::Never => {
            let asked = Asked {
                method: &head.method,
                path: head.uri.path(),
                query: head.uri.query().unwrap_or(""),
                body,
                script,
                origin: shared.origins.get(host).map_or("", String::as_str),
                origins: &shared.origins,
                wall: shared.clock.wall(),
            };
            // It is done now and answered later: who gives up in between does not know whether it was done.
            let answer = routes::answer(&asked);
            let key = key.map(|key| (key, fingerprint(head, body)));
            match shared.book().settle(host, key, answer) {
                Settled::Fresh(answer) => answer,
                Settled::Kept(answer) => answer.with(REPLAYED, "true"),
                Settled::Full(full) => ledger_full(script, full),
                Settled::Differs => Answer::error(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "this Idempotency-Key came before with another request",
                ),
            }
        }
    };
    let delay = fate.delay.saturating_add(answer.delay);
    if !delay.is_zero() {
        shared.clock.sleep(delay).await;
    }
    answer
}

/// The key of a call, or what is wrong with it.
fn key(head: &Parts) -> Result<Option<&str>, &'static str> {
    match head.headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().map(str::trim)) {
        None => Ok(None),
        Some(Ok(key)) if (1..=KEY_BYTES_MAX).contains(&key.len()) => Ok(Some(key)),
        Some(_) => Err("an Idempotency-Key has 1 to 255 letters, all of them visible ASCII"),
    }
}

fn fingerprint(head: &Parts, body: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    (head.method.as_str(), head.uri.path(), head.uri.query(), &body[..]).hash(&mut hasher);
    hasher.finish()
}

/// Why there is no body.
enum Unread {
    TooLong,
    Lost,
}

async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Unread> {
    if hyper::body::Body::is_end_stream(&body) {
        return Ok(Bytes::new());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Unread::TooLong),
        Err(_) => Err(Unread::Lost),
    }
}

fn too_long(bytes_max: usize) -> Answer {
    let message = format!("a body has at most {bytes_max} bytes (body_bytes_max)");
    // The rest of it is not read, so nothing can come behind it.
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, &message).with(CONNECTION, "close")
}

fn ledger_full(script: &Script, full: Full) -> Answer {
    let message = match full {
        Full::Keys => format!("the ledger holds {} keys and takes no more (keys_max)", script.keys_max),
        Full::Bytes => format!("the ledger holds {KEPT_BYTES_MAX} bytes of answers and takes no more"),
    };
    Answer::error(StatusCode::INSUFFICIENT_STORAGE, &message)
}

fn over_quota(script: &Script, now: Timestamp, wait: Duration) -> Answer {
    let value = match script.retry_after {
        RetryAfter::Seconds => seconds_up(wait).to_string(),
        RetryAfter::Date => date(seconds_up(since_epoch(now).saturating_add(wait))),
    };
    // The date of the clock, for who takes the one from the other.
    Answer::error(StatusCode::TOO_MANY_REQUESTS, "the quota is used up")
        .with(RETRY_AFTER, &value)
        .with(DATE, &date(since_epoch(now).as_secs()))
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(time.0).unwrap_or(0))
}

/// Whole seconds, and never too few: both forms of `Retry-After` have no others.
fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// The last second of the year 9999, behind which HTTP has no dates.
const DATE_MAX: u64 = 253_402_300_799;

fn date(seconds: u64) -> String {
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(seconds.min(DATE_MAX)))
}
