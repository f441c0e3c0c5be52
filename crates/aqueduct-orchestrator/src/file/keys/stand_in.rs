//! The keys of `[stand_in]`.

use super::{Absent, Key, Kind, Section, key};

pub(in crate::file) const UNLESS: Key = key(
    "unless",
    Kind::Name,
    Absent::Words("it always plays them"),
    "an environment variable, such as that of a key: where it is set, the calls are real",
);
pub(in crate::file) const STAND_IN_PAGES: Key = key(
    "pages",
    Kind::Text,
    Absent::Words("no pages"),
    "a folder, relative to the pipeline file: a call to any host whose path ends in the name of one of its files gets that \
     file",
);
pub(in crate::file) const STAND_IN_HOSTS: Key = key(
    "hosts",
    Kind::Integer(1, 64),
    Absent::Integer(1),
    "how many servers there are; the hosts that are called are dealt out to them in the order of the file",
);
pub(in crate::file) const STAND_IN_RECORDS: Key = key(
    "records",
    Kind::Integer(0, 1_000_000_000),
    Absent::Integer(10_000),
    "how many records the list at `/list` has; they are those of every run",
);
pub(in crate::file) const ERRORS_RATIO: Key = key(
    "errors_ratio",
    Kind::Number(0.0, 1.0),
    Absent::Number(0.0),
    "the share of calls that is answered 500 to 504",
);
pub(in crate::file) const LATENCY_MS: Key =
    key("latency_ms", Kind::Integer(0, 60_000), Absent::Integer(0), "how long an answer takes");
pub(in crate::file) const TAIL_RATIO: Key = key(
    "tail_ratio",
    Kind::Number(0.0, 1.0),
    Absent::Number(0.0),
    "the share of answers that takes `tail_ms`",
);
pub(in crate::file) const TAIL_MS: Key =
    key("tail_ms", Kind::Integer(0, 600_000), Absent::Integer(1000), "how long those take");
pub(in crate::file) const STAND_IN_QUOTA: Key = key(
    "quota",
    Kind::Integer(0, 1_000_000_000),
    Absent::Integer(0),
    "the most calls within `quota_ms`; more are answered 429 with a Retry-After. 0 is no limit",
);
pub(in crate::file) const STAND_IN_QUOTA_MS: Key =
    key("quota_ms", Kind::Integer(1, 86_400_000), Absent::Integer(60_000), "the time of `quota`");
pub(in crate::file) const OUTAGE_FROM: Key = key(
    "outage_from_call",
    Kind::Integer(1, 1 << 40),
    Absent::Words("no outage"),
    "the last server dies at its call of this number, counted from 1",
);
pub(in crate::file) const OUTAGE_CALLS: Key =
    key("outage_calls", Kind::Integer(1, 1 << 40), Absent::Integer(100), "and is back after so many more");
pub(in crate::file) const STAND_IN_SEED: Key =
    key("seed", Kind::Integer(0, u64::MAX), Absent::Integer(0), "which of all courses of events");

pub(in crate::file) const STAND_IN_SECTION: Section = Section {
    heading: "[stand_in]",
    of_type: None,
    keys: &[
        UNLESS,
        STAND_IN_PAGES,
        STAND_IN_HOSTS,
        STAND_IN_RECORDS,
        ERRORS_RATIO,
        LATENCY_MS,
        TAIL_RATIO,
        TAIL_MS,
        STAND_IN_QUOTA,
        STAND_IN_QUOTA_MS,
        OUTAGE_FROM,
        OUTAGE_CALLS,
        STAND_IN_SEED,
    ],
};
