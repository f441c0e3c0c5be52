//! The keys of `[cache]`, of the stage `cached` and of `[backend.cache]`.

use super::{
    ANSWER_BYTES_MAX, ANSWER_TOKENS_MAX, Absent, BODY, CALLS, COMMAND, DRAW, DRAW_TOKENS, ENV, GRACE_SECONDS,
    HEADERS, HTTP_IN_FLIGHT, IDEMPOTENCY_KEY, IN_FLIGHT, INTO, Key, Kind, METHOD, MODEL, MODEL_INTO,
    MODEL_KEY, MODEL_TEXT, MODEL_URL, PAGES, PROCESSES, PROMPT, READ_URL, REPEATABLE, RESTART_WINDOW_SECONDS,
    RESTARTS_MAX, RETRY_ON, SET, SHAPE, SUCCESS, Section, TEMPERATURE, TENANT, TEXT_CHARS_MAX,
    TIMEOUT_SECONDS, TOKENS_INTO, URL, URL_FROM, key,
};
use crate::settings::defaults;

/// A year: what is good for longer is not in a cache but in a table.
const SECONDS_MAX: f64 = 31_536_000.0;

pub(crate) const CACHE_DISK: Key = key(
    "disk",
    Kind::Boolean,
    Absent::Text("true"),
    "whether results are kept on disk too, in the folder `cache` of the data folder, so that the next run has them",
);
pub(crate) const CACHE_DISK_BYTES: Key = key(
    "disk_bytes_max",
    Kind::Integer(1 << 20, 1 << 36),
    Absent::Integer(defaults::CACHE_DISK_BYTES),
    "the most bytes on disk; what was written first leaves first",
);
pub(crate) const CACHE_REDIS: Key = key(
    "redis",
    Kind::Text,
    Absent::Words("`REDIS_URL`, else results are not shared"),
    "the Redis server through which pipelines share results, such as `${env:REDIS}`; where it is away, the run goes on \
     without it",
);
pub(crate) const CACHE_NODES: Key = key(
    "nodes",
    Kind::Text,
    Absent::Words("`AQUEDUCT_CACHE_NODES`, else `redis`"),
    "several nodes in the place of `redis`, each with its share of the keys: `redis://a:6379,redis://b:6379`, or \
     `local:3` for three in this process, `local` for as many as `AQUEDUCT_CACHE_NODES` says, else 3",
);

pub(in crate::file) const CACHE_SECTION: Section = Section {
    heading: "[cache]",
    of_type: None,
    keys: &[CACHE_DISK, CACHE_DISK_BYTES, CACHE_REDIS, CACHE_NODES],
};

pub(in crate::file) const CACHE_KEY: Key = key(
    "key",
    Kind::Expression,
    Absent::Required,
    "an expression: everything that the result depends on. Items for which it gives the same have the same result; a text \
     counts as it is, anything else as its JSON",
);
pub(in crate::file) const CACHE_NAMESPACE: Key = key(
    "namespace",
    Kind::Name,
    Absent::Words("the name of the stage"),
    "what its results are called in the statistics, in `aqueduct cache` and on a shared server; a stage has one of its own",
);
pub(in crate::file) const CACHE_TTL: Key = key(
    "ttl_seconds",
    Kind::Number(0.001, SECONDS_MAX),
    Absent::Number(defaults::CACHE_TTL_SECONDS),
    "how long a result is good for",
);
pub(in crate::file) const CACHE_STALE: Key = key(
    "stale_seconds",
    Kind::Number(0.0, SECONDS_MAX),
    Absent::Number(0.0),
    "for how long after that it is still given where a new one cannot be had",
);
pub(in crate::file) const CACHE_CAPACITY: Key = key(
    "capacity",
    Kind::Integer(1, 1 << 32),
    Absent::Words("`MEMORY_CACHE_SIZE`, else 1000"),
    "the most results in memory; more of them are on disk",
);
pub(in crate::file) const CACHE_TAGS: Key = key(
    "tags",
    Kind::Expression,
    Absent::Words("no tags"),
    "an expression that gives a list of texts, by which results are invalidated with `aqueduct cache invalidate --tag`",
);
pub(in crate::file) const CACHE_OF: Key = key(
    "of",
    Kind::Section,
    Absent::Required,
    "what is done for a key that is not there: a stage of type `http`, `model` or `exec`. What it adds to an item or changes \
     in it is kept",
);

pub(in crate::file) const CACHED: Section = Section {
    heading: "[[stage]]",
    of_type: Some("cached"),
    keys: &[CACHE_KEY, CACHE_NAMESPACE, CACHE_TTL, CACHE_STALE, CACHE_CAPACITY, CACHE_TAGS, CACHE_OF],
};

pub(in crate::file) const OF_TYPE: Key = key(
    "type",
    Kind::Choice(&["http", "model", "exec"]),
    Absent::Required,
    "as of a stage: http: makes a call; model: asks a language model; exec: gives the item to a program",
);

/// How the stage within a cached one is headed.
pub(crate) const OF_HEADING: &str = "[stage.of]";

pub(in crate::file) const OF_COMMON: Section =
    Section { heading: OF_HEADING, of_type: None, keys: &[OF_TYPE] };

/// The keys that the stages have by themselves, but for `keep` and `journal`: a cached stage keeps all fields, and what it
/// keeps is kept already.
pub(in crate::file) const OF: &[Section] = &[
    Section {
        heading: OF_HEADING,
        of_type: Some("http"),
        keys: &[
            CALLS,
            METHOD,
            URL,
            URL_FROM,
            HEADERS,
            BODY,
            SUCCESS,
            RETRY_ON,
            INTO,
            SET,
            IDEMPOTENCY_KEY,
            REPEATABLE,
            DRAW,
            TENANT,
            HTTP_IN_FLIGHT,
        ],
    },
    Section {
        heading: OF_HEADING,
        of_type: Some("model"),
        keys: &[
            CALLS,
            SHAPE,
            MODEL,
            MODEL_URL,
            MODEL_KEY,
            PROMPT,
            MODEL_TEXT,
            TEXT_CHARS_MAX,
            READ_URL,
            PAGES,
            MODEL_INTO,
            TOKENS_INTO,
            ANSWER_TOKENS_MAX,
            TEMPERATURE,
            DRAW,
            DRAW_TOKENS,
            HTTP_IN_FLIGHT,
        ],
    },
    Section {
        heading: OF_HEADING,
        of_type: Some("exec"),
        keys: &[
            COMMAND,
            ENV,
            PROCESSES,
            IN_FLIGHT,
            TIMEOUT_SECONDS,
            ANSWER_BYTES_MAX,
            RESTARTS_MAX,
            RESTART_WINDOW_SECONDS,
            GRACE_SECONDS,
        ],
    },
];

pub(in crate::file) const BACKEND_CACHE: Key = key(
    "cache",
    Kind::Section,
    Absent::Words("every call is made"),
    "keeps the good answers to GET and HEAD calls, by method, URL and header fields",
);

pub(in crate::file) const BACKEND_CACHE_SECTION: Section =
    Section { heading: "[backend.cache]", of_type: None, keys: &[CACHE_TTL, CACHE_STALE, CACHE_CAPACITY] };
