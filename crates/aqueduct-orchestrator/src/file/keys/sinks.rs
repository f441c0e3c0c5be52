//! The keys of `[[sink]]`.

use super::{Absent, BRANCH, DELIMITER, HTTP_SINK, Key, Kind, QUEUE_SINK, Section, key};

pub(in crate::file) const SINK_NAME: Key = key(
    "name",
    Kind::Name,
    Absent::Words("`results` for a single sink; required for several"),
    "the sink's name, unique among sinks",
);
pub(in crate::file) const SINK_TYPE: Key = key(
    "type",
    Kind::Choice(&["sqlite", "jsonl", "csv", "stdout", "http", "queue"]),
    Absent::Required,
    "sqlite: a table; jsonl: one JSON object a line in files; csv: rows of separated fields in files; stdout: JSON \
     lines on the standard output; http: a service that takes them; queue: messages in a file of queues",
);
pub(in crate::file) const SQLITE_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "the database, relative to the pipeline file; it is made if absent",
);
pub(in crate::file) const TABLE: Key = key(
    "table",
    Kind::Text,
    Absent::Required,
    "the table; it is made if absent. Names of SQLite's own and of the ledger's tables are refused",
);
pub(in crate::file) const SINK_KEY: Key = key(
    "key",
    Kind::Text,
    Absent::Words("every item is a row of its own"),
    "the field that is the key, which means upsert",
);
pub(in crate::file) const COLUMNS: Key =
    key("columns", Kind::List, Absent::Words("the fields of the first epoch"), "the columns of the table");
pub(in crate::file) const JSONL_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "a folder of parts and a manifest; a name that ends in `.jsonl` is one file",
);
pub(in crate::file) const CSV_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "a folder of parts and a manifest; a name that ends in `.csv` is one file. Texts are written as they are, \
     formulas included",
);
pub(in crate::file) const CSV_COLUMNS: Key = key(
    "columns",
    Kind::List,
    Absent::Words("the fields of the first epoch, and later those of the header"),
    "the columns of the files",
);

pub(in crate::file) const SINK_ON_ERROR: Key = key(
    "on_error",
    Kind::Choice(&["stop", "skip", "dead-letter"]),
    Absent::Text("stop"),
    "what happens to an item that the sink cannot take, such as one with a field that has no column",
);

pub(in crate::file) const SINK_COMMON: Section =
    Section { heading: "[[sink]]", of_type: None, keys: &[SINK_NAME, SINK_TYPE, BRANCH, SINK_ON_ERROR] };
pub(in crate::file) const SINKS: [Section; 6] = [
    Section { heading: "[[sink]]", of_type: Some("sqlite"), keys: &[SQLITE_PATH, TABLE, SINK_KEY, COLUMNS] },
    Section { heading: "[[sink]]", of_type: Some("jsonl"), keys: &[JSONL_PATH] },
    Section { heading: "[[sink]]", of_type: Some("csv"), keys: &[CSV_PATH, CSV_COLUMNS, DELIMITER] },
    Section { heading: "[[sink]]", of_type: Some("stdout"), keys: &[] },
    HTTP_SINK,
    QUEUE_SINK,
];
