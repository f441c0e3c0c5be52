//! The keys of `[source]`.

use super::{Absent, HTTP_SOURCE, Key, Kind, QUEUE_SOURCE, Section, key};
use crate::settings::defaults;

pub(in crate::file) const SOURCE_TYPE: Key = key(
    "type",
    Kind::Choice(&["jsonl", "csv", "lines", "stdin", "generator", "http", "queue"]),
    Absent::Required,
    "jsonl: one JSON object a line; csv: rows of separated fields; lines: lines of any kind; stdin: the standard \
     input; generator: items that are made up; http: a list that a service gives page by page; queue: messages that wait in \
     a file of queues",
);
pub(in crate::file) const SOURCE_ON_ERROR: Key = key(
    "on_error",
    Kind::Choice(&["stop", "skip", "dead-letter"]),
    Absent::Text("dead-letter"),
    "what happens to input that is not an item",
);

// Files

pub(in crate::file) const SOURCE_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "the file to read, or a pattern such as `data/*.jsonl` or `**/*.gz`, relative to the pipeline file; `.gz` and \
     `.zst` are decompressed",
);
pub(in crate::file) const LINE_BYTES_MAX: Key = key(
    "line_bytes_max",
    Kind::Integer(1, 1 << 30),
    Absent::Integer(defaults::LINE_BYTES_MAX),
    "the longest line or row in bytes; a longer one goes the way of `on_error`",
);
pub(in crate::file) const EXPANDED_BYTES_MAX: Key = key(
    "expanded_bytes_max",
    Kind::Integer(1, 1 << 60),
    Absent::Integer(defaults::EXPANDED_BYTES_MAX),
    "the most bytes that one compressed file may become; more is an error",
);
pub(in crate::file) const EXPANDED_RATIO_MAX: Key = key(
    "expanded_ratio_max",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::EXPANDED_RATIO_MAX),
    "how many times larger than itself a compressed file may become, from 64 MiB on; more is an error",
);

// Rows

pub(in crate::file) const HEADER: Key = key(
    "header",
    Kind::Boolean,
    Absent::Text("true"),
    "whether each file, or each run of stdin, begins with the names of the columns",
);
pub(in crate::file) const SOURCE_COLUMNS: Key = key(
    "columns",
    Kind::List,
    Absent::Words("those of the header; required without one"),
    "the names of the columns; with a header they take its place, and there must be as many",
);
pub(in crate::file) const DELIMITER: Key =
    key("delimiter", Kind::Character, Absent::Text(","), "what separates fields; no letter or digit");
pub(in crate::file) const QUOTE: Key = key(
    "quote",
    Kind::Character,
    Absent::Text("\""),
    "what surrounds fields that hold delimiters or line ends; two of them inside stand for one",
);
pub(in crate::file) const TYPES: Key = key(
    "types",
    Kind::Texts,
    Absent::Words("every field is a text"),
    "columns and their types: `text`, `integer`, `float`, `boolean` or `json`. An empty field is null, but for texts",
);

// Lines

pub(in crate::file) const LINE_FIELD: Key = key(
    "field",
    Kind::Field,
    Absent::Text(aqueduct_stream::LINE_FIELD),
    "the field that holds a line without its end; lines of white space are left out",
);

// The standard input

pub(in crate::file) const STDIN_FORMAT: Key = key(
    "format",
    Kind::Choice(&["jsonl", "csv", "lines"]),
    Absent::Text("jsonl"),
    "how its bytes become items; the keys of these types belong here too",
);

// The generator

pub(in crate::file) const COUNT: Key = key(
    "count",
    Kind::Integer(0, i64::MAX as u64),
    Absent::Words("endless"),
    "how many items there are over all runs",
);
pub(in crate::file) const SEED: Key = key(
    "seed",
    Kind::Integer(0, i64::MAX as u64),
    Absent::Integer(0),
    "chooses the items: the same seed and fields give the same ones",
);
pub(in crate::file) const RATE: Key = key(
    "rate",
    Kind::Number(0.000_001, 1_000_000_000.0),
    Absent::Words("as fast as they are taken"),
    "the most items a second",
);
pub(in crate::file) const GENERATOR_FIELDS: Key = key(
    "fields",
    Kind::Texts,
    Absent::Required,
    "fields and what they hold: `sequence [FIRST]`, `integer LEAST MOST`, `float LEAST BELOW`, `boolean [RATIO]`, \
     `choice WORD WORD..`, `words LEAST MOST`, `hex DIGITS`",
);

pub(in crate::file) const SOURCE_COMMON: Section =
    Section { heading: "[source]", of_type: None, keys: &[SOURCE_TYPE, SOURCE_ON_ERROR] };
pub(in crate::file) const SOURCES: [Section; 7] = [
    Section {
        heading: "[source]",
        of_type: Some("jsonl"),
        keys: &[SOURCE_PATH, LINE_BYTES_MAX, EXPANDED_BYTES_MAX, EXPANDED_RATIO_MAX],
    },
    Section {
        heading: "[source]",
        of_type: Some("csv"),
        keys: &[
            SOURCE_PATH,
            HEADER,
            SOURCE_COLUMNS,
            TYPES,
            DELIMITER,
            QUOTE,
            LINE_BYTES_MAX,
            EXPANDED_BYTES_MAX,
            EXPANDED_RATIO_MAX,
        ],
    },
    Section {
        heading: "[source]",
        of_type: Some("lines"),
        keys: &[SOURCE_PATH, LINE_FIELD, LINE_BYTES_MAX, EXPANDED_BYTES_MAX, EXPANDED_RATIO_MAX],
    },
    Section {
        heading: "[source]",
        of_type: Some("stdin"),
        keys: &[STDIN_FORMAT, LINE_BYTES_MAX, HEADER, SOURCE_COLUMNS, TYPES, DELIMITER, QUOTE, LINE_FIELD],
    },
    Section { heading: "[source]", of_type: Some("generator"), keys: &[COUNT, SEED, RATE, GENERATOR_FIELDS] },
    HTTP_SOURCE,
    QUEUE_SOURCE,
];
