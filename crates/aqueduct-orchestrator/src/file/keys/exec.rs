//! The keys of the stage `exec`.

use super::{Absent, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const COMMAND: Key = key(
    "command",
    Kind::Words,
    Absent::Required,
    "the program and its arguments; no shell takes part. It runs in the folder of the pipeline file, where a program \
     with a slash starts too",
);
pub(in crate::file) const ENV: Key = key(
    "env",
    Kind::Texts,
    Absent::Words("the environment of this process"),
    "variables for the program, beside those of this process",
);
pub(in crate::file) const PROCESSES: Key =
    key("processes", Kind::Integer(1, 256), Absent::Integer(1), "how many of the program work side by side");
pub(in crate::file) const IN_FLIGHT: Key = key(
    "in_flight",
    Kind::Integer(1, 1024),
    Absent::Integer(defaults::EXEC_IN_FLIGHT),
    "the most items that each has and has not answered",
);
pub(in crate::file) const TIMEOUT_SECONDS: Key = key(
    "timeout_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Number(defaults::EXEC_TIMEOUT_SECONDS),
    "the time for an item while it is the oldest unanswered one; then its process is replaced and the item is tried \
     again as `retry` says",
);
pub(in crate::file) const ANSWER_BYTES_MAX: Key = key(
    "answer_bytes_max",
    Kind::Integer(64, 1 << 30),
    Absent::Integer(defaults::EXEC_ANSWER_BYTES_MAX),
    "the longest answer in bytes",
);
pub(in crate::file) const RESTARTS_MAX: Key = key(
    "restarts_max",
    Kind::Integer(0, 1000),
    Absent::Integer(defaults::EXEC_RESTARTS_MAX),
    "how often each process may be replaced within `restart_window_seconds`; then the run stops, whatever `on_error` \
     says. Restarts that an item explains do not count",
);
pub(in crate::file) const RESTART_WINDOW_SECONDS: Key = key(
    "restart_window_seconds",
    Kind::Number(1.0, 86_400.0),
    Absent::Number(defaults::EXEC_RESTART_WINDOW_SECONDS),
    "the time in which restarts are counted",
);
pub(in crate::file) const GRACE_SECONDS: Key = key(
    "grace_seconds",
    Kind::Number(0.0, 86_400.0),
    Absent::Number(defaults::EXEC_GRACE_SECONDS),
    "how long a process may take to end after its input was closed; then it is killed",
);

pub(in crate::file) const EXEC: Section = Section {
    heading: "[[stage]]",
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
};
