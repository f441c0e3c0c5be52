//! The keys of `[source]`.

use super::{Absent, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const SOURCE_TYPE: Key =
    key("type", Kind::Choice(&["jsonl"]), Absent::Required, "jsonl: one JSON object a line");
pub(in crate::file) const SOURCE_ON_ERROR: Key = key(
    "on_error",
    Kind::Choice(&["stop", "skip", "dead-letter"]),
    Absent::Text("dead-letter"),
    "what happens to input that is not an item",
);
pub(in crate::file) const SOURCE_PATH: Key =
    key("path", Kind::Text, Absent::Required, "the file to read, relative to the pipeline file");
pub(in crate::file) const LINE_BYTES_MAX: Key = key(
    "line_bytes_max",
    Kind::Integer(1, 1 << 30),
    Absent::Integer(defaults::LINE_BYTES_MAX),
    "the longest line in bytes; a longer one goes the way of `on_error`",
);

pub(in crate::file) const SOURCE_COMMON: Section =
    Section { heading: "[source]", of_type: None, keys: &[SOURCE_TYPE, SOURCE_ON_ERROR] };
pub(in crate::file) const SOURCES: [Section; 1] =
    [Section { heading: "[source]", of_type: Some("jsonl"), keys: &[SOURCE_PATH, LINE_BYTES_MAX] }];
