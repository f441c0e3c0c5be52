//! The keys of `[[backend]]`.

use super::{Absent, BACKEND_CACHE, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const BACKEND_NAME: Key =
    key("name", Kind::Name, Absent::Required, "the backend's name, unique among backends");
pub(in crate::file) const ENDPOINTS: Key = key(
    "endpoints",
    Kind::List,
    Absent::Words("each call names its host"),
    "base URLs of one service, such as `https://a.example/v1`; calls are balanced between them, and one that fails is \
     left out until it recovers",
);
pub(in crate::file) const BALANCE: Key = key(
    "balance",
    Kind::Choice(&["least-response-time", "least-connections", "round-robin", "adaptive"]),
    Absent::Text("least-response-time"),
    "how an endpoint is chosen",
);
pub(in crate::file) const PER: Key = key(
    "per",
    Kind::Choice(&["host", "backend"]),
    Absent::Words("`host`, or `backend` with `endpoints`"),
    "what has a quota and a circuit of its own: each host, or the backend as a whole. With `endpoints` the circuits are those \
     of the endpoints",
);
pub(crate) const REQUESTS_PER_MINUTE: Key = key(
    "requests_per_minute",
    Kind::Integer(0, 1_000_000_000),
    Absent::Integer(defaults::REQUESTS_PER_MINUTE),
    "the most calls in any minute, those that are made again included; it is never exceeded, so up to 2 % of it \
     are not used. 0 is no limit",
);
pub(in crate::file) const BURST: Key = key(
    "burst",
    Kind::Integer(1, 1_000_000),
    Absent::Words("a hundredth of `requests_per_minute`, at least 1"),
    "the most calls at once after a pause; they come out of the same quota",
);
pub(crate) const RETRIES: Key = key(
    "retries",
    Kind::Integer(0, 100),
    Absent::Integer(defaults::RETRIES),
    "how often a failed call is made again. A refusal of the quota or of an open circuit is no failure: it is waited for",
);
pub(in crate::file) const RETRY_DELAY_SECONDS: Key = key(
    "retry_delay_seconds",
    Kind::Number(0.001, 3600.0),
    Absent::Number(defaults::RETRY_DELAY_SECONDS),
    "the first wait before a call is made again; each later one may be twice as long, and chance cuts all of them \
     (full jitter). Longer where the service asks for it (Retry-After)",
);
pub(in crate::file) const RETRY_DELAY_MAX_SECONDS: Key = key(
    "retry_delay_max_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Number(defaults::RETRY_DELAY_MAX_SECONDS),
    "the longest such wait of our own",
);
pub(in crate::file) const RETRY_BUDGET_RATIO: Key = key(
    "retry_budget_ratio",
    Kind::Number(0.0, 1.0),
    Absent::Number(defaults::RETRY_BUDGET_RATIO),
    "the most calls that are made again, as a share of all calls of the last seconds: a service that is down gets no \
     more calls than that on top, or 10 a second where that is more",
);
pub(crate) const BREAKER_FAILURES: Key = key(
    "breaker_failures",
    Kind::Integer(0, 1_000_000),
    Absent::Integer(defaults::BREAKER_FAILURES),
    "so many failures in a row open the circuit: calls wait until it closes again. 0 is never",
);
pub(crate) const BREAKER_OPEN_SECONDS: Key = key(
    "breaker_open_seconds",
    Kind::Integer(1, 86_400),
    Absent::Integer(defaults::BREAKER_OPEN_SECONDS),
    "how long a circuit stays open before a call tries the service again",
);
pub(in crate::file) const CONCURRENCY: Key = key(
    "concurrency",
    Kind::Choice(&["fixed", "aimd", "gradient"]),
    Absent::Text("fixed"),
    "fixed: `calls_max` at once; aimd: one more after successes, fewer after failures; gradient: as many as do not make \
     each other slower",
);
pub(in crate::file) const CALLS_MAX: Key = key(
    "calls_max",
    Kind::Integer(1, 100_000),
    Absent::Integer(defaults::CALLS_MAX),
    "the most calls under way at once",
);
pub(in crate::file) const CALL_TIMEOUT_SECONDS: Key = key(
    "timeout_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Number(defaults::CALL_TIMEOUT_SECONDS),
    "how long one attempt may take, its body included",
);
pub(in crate::file) const DEADLINE_SECONDS: Key = key(
    "deadline_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Number(defaults::DEADLINE_SECONDS),
    "how long a call may take with all its attempts and waits",
);
pub(in crate::file) const HEDGE_AFTER_RATIO: Key = key(
    "hedge_after_ratio",
    Kind::Number(0.5, 0.9999),
    Absent::Words("no second attempt beside the first"),
    "a second attempt begins where the first takes longer than this share of all calls did, out of the same budget as \
     those that are made again; only for calls that may be repeated",
);
pub(crate) const POOL_HOSTS: Key = key(
    "hosts",
    Kind::Integer(1, 10_000),
    Absent::Integer(defaults::POOL_HOSTS),
    "the most hosts with connections at once; calls to others wait until one is idle",
);
pub(crate) const CONNECTIONS_PER_HOST: Key = key(
    "connections_per_host",
    Kind::Integer(1, 10_000),
    Absent::Integer(defaults::CONNECTIONS_PER_HOST),
    "the most connections to one host",
);
pub(in crate::file) const CONNECT_TIMEOUT_SECONDS: Key = key(
    "connect_timeout_seconds",
    Kind::Number(0.001, 3600.0),
    Absent::Number(defaults::CONNECT_TIMEOUT_SECONDS),
    "how long a connection may take to come about",
);
pub(in crate::file) const RESPONSE_BYTES_MAX: Key = key(
    "response_bytes_max",
    Kind::Integer(1, 1 << 32),
    Absent::Integer(defaults::RESPONSE_BYTES_MAX),
    "the largest answer in bytes, unpacked; a larger one fails for good",
);
pub(in crate::file) const REDIRECTS_MAX: Key = key(
    "redirects_max",
    Kind::Integer(0, 20),
    Absent::Integer(defaults::REDIRECTS_MAX),
    "how many redirects are followed, each checked like the first address; 0 takes them as answers",
);
pub(in crate::file) const ALLOW_PRIVATE: Key = key(
    "allow_private",
    Kind::Boolean,
    Absent::Text("false"),
    "whether addresses of this machine and of private networks may be called. Say true only for a backend whose URLs \
     are yours: an item or a redirect could name a service that trusts this machine",
);
pub(in crate::file) const USER_AGENT: Key = key(
    "user_agent",
    Kind::Text,
    Absent::Words("`aqueduct/` and the version"),
    "what the client calls itself",
);
pub(in crate::file) const ROOT_CERTIFICATE: Key = key(
    "root_certificate",
    Kind::Text,
    Absent::Words("the usual authorities"),
    "a PEM file with certificates of authorities that are trusted beside the usual ones",
);

pub(in crate::file) const BACKEND_SECTION: Section = Section {
    heading: "[[backend]]",
    of_type: None,
    keys: &[
        BACKEND_NAME,
        ENDPOINTS,
        BALANCE,
        PER,
        REQUESTS_PER_MINUTE,
        BURST,
        RETRIES,
        RETRY_DELAY_SECONDS,
        RETRY_DELAY_MAX_SECONDS,
        RETRY_BUDGET_RATIO,
        BREAKER_FAILURES,
        BREAKER_OPEN_SECONDS,
        CONCURRENCY,
        CALLS_MAX,
        CALL_TIMEOUT_SECONDS,
        DEADLINE_SECONDS,
        HEDGE_AFTER_RATIO,
        BACKEND_CACHE,
        POOL_HOSTS,
        CONNECTIONS_PER_HOST,
        CONNECT_TIMEOUT_SECONDS,
        RESPONSE_BYTES_MAX,
        REDIRECTS_MAX,
        ALLOW_PRIVATE,
        USER_AGENT,
        ROOT_CERTIFICATE,
    ],
};
