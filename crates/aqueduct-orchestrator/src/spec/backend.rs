//! What calls leave the machine for, and by which rules.

use std::sync::Arc;
use std::time::Duration;

use super::KeptSpec;
use crate::expression::Expression;
use crate::redacted::Redacted;
use crate::settings::{Ratio, Setting};
use crate::template::Template;

/// A service, or all hosts of the web, and the rules of every call to it.
#[derive(Clone, Debug)]
pub struct BackendSpec {
    /// Its name, unique among backends; that of the stage where the stage has one of its own.
    pub name: String,
    /// The base URLs between which calls are balanced; empty where each call names its host.
    pub endpoints: Vec<Redacted>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Whether quota and circuit are one for the whole backend, or one for each host.
    pub scope: Scope,
    /// The most calls in any minute; 0 for no limit.
    pub requests_per_minute: Setting<u64>,
    /// The most calls at once after a pause. At least 1.
    pub burst: u32,
    /// How often a failed call is made again.
    pub retries: Setting<u32>,
    /// The first wait before a call is made again; each later one is twice as long.
    pub retry_delay: Duration,
    /// The longest such wait.
    pub retry_delay_max: Duration,
    /// The most calls that are made again, as a share of all calls.
    pub retry_budget: Ratio,
    /// So many failures in a row open a circuit; 0 for never.
    pub breaker_failures: Setting<u32>,
    /// How long a circuit stays open.
    pub breaker_open: Setting<Duration>,
    /// How many calls are under way at once.
    pub concurrency: Concurrency,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long a call may take with all its attempts and waits.
    pub deadline: Duration,
    /// A second attempt begins where the first takes longer than this share of all did.
    pub hedge_after: Option<Ratio>,
    /// For how long good answers to `GET` and `HEAD` are kept, and how many; without it, every call is made.
    pub cache: Option<KeptSpec>,
    /// The connections.
    pub client: ClientSpec,
}

/// The connections of a backend.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// The most hosts with connections at once.
    pub hosts: Setting<usize>,
    /// The most connections to one host.
    pub connections_per_host: Setting<usize>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// The largest answer in bytes, unpacked.
    pub response_bytes_max: usize,
    /// How many redirects are followed, each checked like the first address.
    pub redirects_max: u32,
    /// Whether addresses of private networks and of this machine may be called.
    pub allow_private: bool,
    /// What it calls itself.
    pub user_agent: Option<Redacted>,
    /// A file with certificates of authorities that are trusted beside the usual ones.
    pub root_certificate: Option<Redacted>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The one that answers fastest, of two drawn ones.
    LeastResponseTime,
    /// The one with the fewest calls under way.
    LeastConnections,
    /// One after the other.
    RoundRobin,
    /// By all that is known of them.
    Adaptive,
}

/// What has a quota and a circuit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each host.
    Host,
    /// The backend as a whole.
    Backend,
}

/// How many calls are under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// So many.
    Fixed(u32),
    /// As many as go well, up to so many: more after successes, fewer at once after failures.
    Aimd(u32),
    /// As many as do not make each other slower, up to so many.
    Gradient(u32),
}

/// A call for each item.
#[derive(Clone, Debug)]
pub struct HttpSpec {
    /// Which backend it calls, an index into [`PipelineSpec::backends`](crate::PipelineSpec::backends).
    pub backend: usize,
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub target: Target,
    /// Header fields and their values.
    pub headers: Vec<(String, Template)>,
    /// What is sent: a text as it is, anything else as JSON.
    pub body: Option<Arc<Expression>>,
    /// What statuses mean.
    pub statuses: Arc<Statuses>,
    /// The field that the answer becomes, for expressions and, without any, for good.
    pub into: String,
    /// The fields carried over; without it, all.
    pub keep: Option<Vec<String>>,
    /// Fields and their expressions, over the item with its answer.
    pub set: Vec<(String, Arc<Expression>)>,
    /// Sends the item's id as Idempotency-Key.
    pub idempotency_key: bool,
    /// Whether a call may be made again that may have been carried out.
    pub repeatable: bool,
    /// Keeps every answer until it is committed.
    pub journal: bool,
    /// The allowance that each call draws on, an index into [`PipelineSpec::budget`](crate::PipelineSpec::budget).
    pub draw: Option<usize>,
    /// Between whose calls the backend is shared fairly.
    pub tenant: Option<Arc<Expression>>,
    /// The most items that it works on at once.
    pub in_flight: usize,
}

impl HttpSpec {
    /// The expressions in it.
    pub(crate) fn expressions(&self) -> Vec<&Expression> {
        let mut all = match &self.target {
            Target::Url(url) => url.expressions(),
            Target::Item(from) => vec![&**from],
        };
        all.extend(self.headers.iter().flat_map(|(_, value)| value.expressions()));
        all.extend(self.body.as_deref());
        all.extend(self.set.iter().map(|(_, expression)| &**expression));
        all.extend(self.tenant.as_deref());
        all
    }
}

/// The method of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
}

impl Method {
    /// The name as it is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Tells whether a call changes nothing at the other side (RFC 9110, section 9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// To a URL of ours, in which items fill places.
    Url(Template),
    /// To the URL that an item has.
    Item(Arc<Expression>),
}

/// What statuses mean. What is in neither list fails for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The answer is one.
    pub success: Vec<StatusRange>,
    /// The call is made again.
    pub retry: Vec<StatusRange>,
}

/// Statuses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl StatusRange {
    /// Reads `404`, `200-299` or `2xx`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let status = |text: &str| text.parse::<u16>().ok().filter(|status| (100..=599).contains(status));
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
            return Some(Self { first: class * 100, last: class * 100 + 99 });
        }
        match text.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (status(first)?, status(last)?);
                (first <= last).then_some(Self { first, last })
            }
            None => status(text).map(|only| Self { first: only, last: only }),
        }
    }
}

impl Default for Statuses {
    /// 2xx are answers; what may be well again in a moment is tried again (requirement E1).
    fn default() -> Self {
        let only = |status| StatusRange { first: status, last: status };
        Self {
            success: vec![StatusRange { first: 200, last: 299 }],
            retry: [429, 500, 502, 503, 504].map(only).to_vec(),
        }
    }
}

impl Statuses {
    /// Tells whether an answer of this status is one.
    #[must_use]
    pub fn is_success(&self, status: u16) -> bool {
        contains(&self.success, status)
    }

    /// Tells whether a call with this status is made again.
    #[must_use]
    pub fn is_retry(&self, status: u16) -> bool {
        contains(&self.retry, status)
    }
}

fn contains(ranges: &[StatusRange], status: u16) -> bool {
    ranges.iter().any(|range| (range.first..=range.last).contains(&status))
}

/// A list that a service gives page by page.
#[derive(Clone, Debug)]
pub struct HttpSourceSpec {
    /// Which backend it calls, an index into [`PipelineSpec::backends`](crate::PipelineSpec::backends).
    pub backend: usize,
    /// Where the list is.
    pub url: Redacted,
    /// Header fields of each call.
    pub headers: Vec<(String, Redacted)>,
    /// The list of items of a page.
    pub items: Arc<Expression>,
    /// How pages are asked for.
    pub paging: Paging,
    /// What statuses mean.
    pub statuses: Arc<Statuses>,
}

/// How the pages of a list are asked for.
#[derive(Clone, Debug)]
pub enum Paging {
    /// There is one.
    None,
    /// By the number of their first item, until one is empty.
    Offset {
        /// What that number is called in the URL.
        offset: String,
        /// What the size of a page is called in the URL.
        limit: String,
        /// The size of a page.
        size: u64,
    },
    /// Each page says which is next.
    Cursor {
        /// What the cursor is called in the URL.
        parameter: String,
        /// The cursor of the next page.
        next: Arc<Expression>,
    },
    /// Each page says so in its header field Link (RFC 8288).
    Link,
}

/// A service that takes results.
#[derive(Clone, Debug)]
pub struct HttpSinkSpec {
    /// Which backend it calls, an index into [`PipelineSpec::backends`](crate::PipelineSpec::backends).
    pub backend: usize,
    /// Where results are sent.
    pub url: Redacted,
    /// The method.
    pub method: Method,
    /// Header fields of each call.
    pub headers: Vec<(String, Redacted)>,
    /// The most results in one call; without it, the size of writes.
    pub batch_items: Option<usize>,
    /// How results are written.
    pub format: SinkFormat,
    /// What statuses mean.
    pub statuses: Arc<Statuses>,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFormat {
    /// A JSON list, or the result itself where a call has one.
    Json,
    /// One JSON object a line.
    JsonLines,
}

/// A counted allowance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceSpec {
    /// Its name, such as `fetches`.
    pub name: String,
    /// How much a run may use of it.
    pub limit: u64,
}

/// A server of this process that plays the services of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct StandInSpec {
    /// The variable that makes the calls real when it is set, which it is not.
    pub unless: Option<String>,
    /// A folder of pages.
    pub pages: Option<Redacted>,
    /// How many servers there are. 1 to 64.
    pub hosts: usize,
    /// How many records its list has.
    pub records: u64,
    /// The share of calls that is answered 500 to 504.
    pub errors: Ratio,
    /// How long an answer takes.
    pub latency: Duration,
    /// The share of answers that takes longer.
    pub tail: Ratio,
    /// How long those take.
    pub tail_latency: Duration,
    /// The most calls within the window.
    pub quota: Option<u64>,
    /// The time of the quota.
    pub quota_window: Duration,
    /// The call of the last server at which it dies, and how many calls later it is back.
    pub outage: Option<(u64, u64)>,
    /// Which of all courses of events.
    pub seed: u64,
}
