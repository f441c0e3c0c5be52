//! Every key of the pipeline file: what the reader admits and what the reference says.

use crate::settings::defaults;

/// One key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) absent: Absent,
    pub(crate) meaning: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A text in which references such as `${env:X}` are resolved.
    Text,
    /// A name: letters, digits, `.`, `_`, `-`.
    Name,
    /// A field name.
    Field,
    /// An expression.
    Expression,
    /// Field names and their expressions.
    Expressions,
    /// A list of texts.
    List,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An integer within the range, its ends included.
    Integer(u64, u64),
    /// A number within the range, its ends included.
    Number(f64, f64),
    /// A section of its own.
    Section,
}

/// What holds when the key is absent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absent {
    /// The key must be there.
    Required,
    /// What then happens, in words.
    Words(&'static str),
    /// This text.
    Text(&'static str),
    /// This integer.
    Integer(u64),
    /// This number.
    Number(f64),
}

/// The keys of one kind of section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// How the section is headed in the file.
    pub(crate) heading: &'static str,
    /// The type that these keys belong to, if the section has types.
    pub(crate) of_type: Option<&'static str>,
    pub(crate) keys: &'static [Key],
}

const fn key(name: &'static str, kind: Kind, absent: Absent, meaning: &'static str) -> Key {
    Key { name, kind, absent, meaning }
}

const ON_ERROR: &[&str] = &["stop", "skip", "retry", "dead-letter"];

// The file

pub(super) const NAME: Key = key(
    "name",
    Kind::Name,
    Absent::Required,
    "the pipeline's name, in the ledger, in metrics and in reports",
);
pub(super) const GUARANTEE: Key = key(
    "guarantee",
    Kind::Choice(&["exactly-once", "at-least-once"]),
    Absent::Words("the best that the route gives"),
    "what the run must give; more than the route can give is an error",
);
pub(super) const DATA_DIR: Key = key(
    "data_dir",
    Kind::Text,
    Absent::Words("`.aqueduct/` and the pipeline's name"),
    "the folder of the lock and, without a database sink, of the ledger, relative to the pipeline file",
);
pub(super) const SOURCE: Key = key("source", Kind::Section, Absent::Required, "where items come from");
pub(super) const STAGE: Key = key(
    "stage",
    Kind::Section,
    Absent::Words("items pass as they are"),
    "one step, in the order of the file",
);
pub(super) const SINK: Key = key("sink", Kind::Section, Absent::Required, "where items go; one or several");
pub(super) const RUN: Key =
    key("run", Kind::Section, Absent::Words("every default"), "how the pipeline runs");

pub(super) const TOP: Section = Section {
    heading: "the file",
    of_type: None,
    keys: &[NAME, GUARANTEE, DATA_DIR, SOURCE, STAGE, SINK, RUN],
};

// Sources

pub(super) const SOURCE_TYPE: Key =
    key("type", Kind::Choice(&["jsonl"]), Absent::Required, "jsonl: one JSON object a line");
pub(super) const SOURCE_ON_ERROR: Key = key(
    "on_error",
    Kind::Choice(&["stop", "skip", "dead-letter"]),
    Absent::Text("dead-letter"),
    "what happens to input that is not an item",
);
pub(super) const SOURCE_PATH: Key =
    key("path", Kind::Text, Absent::Required, "the file to read, relative to the pipeline file");
pub(super) const LINE_BYTES_MAX: Key = key(
    "line_bytes_max",
    Kind::Integer(1, 1 << 30),
    Absent::Integer(defaults::LINE_BYTES_MAX),
    "the longest line in bytes; a longer one goes the way of `on_error`",
);

pub(super) const SOURCE_COMMON: Section =
    Section { heading: "[source]", of_type: None, keys: &[SOURCE_TYPE, SOURCE_ON_ERROR] };
pub(super) const SOURCES: [Section; 1] =
    [Section { heading: "[source]", of_type: Some("jsonl"), keys: &[SOURCE_PATH, LINE_BYTES_MAX] }];

// Stages

pub(super) const STAGE_NAME: Key =
    key("name", Kind::Name, Absent::Required, "the stage's name, unique among stages; dead letters carry it");
pub(super) const STAGE_TYPE: Key = key(
    "type",
    Kind::Choice(&["map", "filter", "alert"]),
    Absent::Required,
    "map: writes new fields; filter: lets items pass; alert: writes a record about some of them",
);
pub(super) const STAGE_ON_ERROR: Key = key(
    "on_error",
    Kind::Choice(ON_ERROR),
    Absent::Text("stop"),
    "what happens to an item on which the stage fails for good; retry stops when its attempts are spent",
);
pub(super) const STAGE_RETRY: Key = key(
    "retry",
    Kind::Section,
    Absent::Words("the defaults of `[stage.retry]`"),
    "how often and how fast, with `on_error = \"retry\"` only",
);
pub(super) const ATTEMPTS: Key = key(
    "attempts",
    Kind::Integer(2, 100),
    Absent::Integer(defaults::RETRY_ATTEMPTS),
    "how often the stage is tried in all, the first time included",
);
pub(super) const DELAY_MS: Key = key(
    "delay_ms",
    Kind::Integer(1, 60_000),
    Absent::Integer(defaults::RETRY_DELAY_MS),
    "the first wait in milliseconds; later waits grow",
);
pub(super) const KEEP: Key =
    key("keep", Kind::List, Absent::Words("all fields"), "the fields that are carried over");
pub(super) const SET: Key = key(
    "set",
    Kind::Expressions,
    Absent::Words("no new fields"),
    "new fields and their expressions, in order; each reads the item as it came in",
);
pub(super) const WHEN: Key =
    key("when", Kind::Expression, Absent::Required, "which items: an expression that gives true or false");
pub(super) const TO: Key = key("to", Kind::Name, Absent::Required, "the sink that takes the alerts");
pub(super) const ALERT_ID: Key =
    key("id", Kind::Field, Absent::Text("id"), "the field of the item that becomes the alert's `id`");
pub(super) const ALERT_SCORE: Key = key(
    "score",
    Kind::Field,
    Absent::Words("the field that `when` compares, else `score`"),
    "the field of the item that becomes the alert's `score`",
);
pub(super) const ALERT_THRESHOLD: Key = key(
    "threshold",
    Kind::Number(f64::MIN, f64::MAX),
    Absent::Words("the number in `when`, if it has the form `item.field < number`; else required"),
    "the alert's `threshold`",
);

pub(super) const STAGE_COMMON: Section = Section {
    heading: "[[stage]]",
    of_type: None,
    keys: &[STAGE_NAME, STAGE_TYPE, STAGE_ON_ERROR, STAGE_RETRY],
};
pub(super) const RETRY: Section =
    Section { heading: "[stage.retry]", of_type: None, keys: &[ATTEMPTS, DELAY_MS] };
pub(super) const STAGES: [Section; 3] = [
    Section { heading: "[[stage]]", of_type: Some("map"), keys: &[KEEP, SET] },
    Section { heading: "[[stage]]", of_type: Some("filter"), keys: &[WHEN] },
    Section {
        heading: "[[stage]]",
        of_type: Some("alert"),
        keys: &[WHEN, TO, ALERT_ID, ALERT_SCORE, ALERT_THRESHOLD],
    },
];

// Sinks

pub(super) const SINK_NAME: Key = key(
    "name",
    Kind::Name,
    Absent::Words("`results` for a single sink; required for several"),
    "the sink's name, unique among sinks",
);
pub(super) const SINK_TYPE: Key = key(
    "type",
    Kind::Choice(&["sqlite", "jsonl", "stdout"]),
    Absent::Required,
    "sqlite: a table; jsonl: one JSON object a line in files; stdout: the same on the standard output",
);
pub(super) const SQLITE_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "the database, relative to the pipeline file; it is made if absent",
);
pub(super) const TABLE: Key = key(
    "table",
    Kind::Text,
    Absent::Required,
    "the table; it is made if absent. Names of SQLite's own and of the ledger's tables are refused",
);
pub(super) const SINK_KEY: Key = key(
    "key",
    Kind::Text,
    Absent::Words("every item is a row of its own"),
    "the field that is the key, which means upsert",
);
pub(super) const COLUMNS: Key =
    key("columns", Kind::List, Absent::Words("the fields of the first epoch"), "the columns of the table");
pub(super) const JSONL_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "a folder of parts and a manifest; a name that ends in `.jsonl` is one file",
);

pub(super) const SINK_COMMON: Section =
    Section { heading: "[[sink]]", of_type: None, keys: &[SINK_NAME, SINK_TYPE] };
pub(super) const SINKS: [Section; 3] = [
    Section { heading: "[[sink]]", of_type: Some("sqlite"), keys: &[SQLITE_PATH, TABLE, SINK_KEY, COLUMNS] },
    Section { heading: "[[sink]]", of_type: Some("jsonl"), keys: &[JSONL_PATH] },
    Section { heading: "[[sink]]", of_type: Some("stdout"), keys: &[] },
];

// The run

pub(crate) const WORKERS: Key = key(
    "workers",
    Kind::Integer(1, 1024),
    Absent::Words("two for each core"),
    "threads that work on batches; 1 works on one batch at a time",
);
pub(crate) const BATCH_SIZE: Key = key(
    "batch_size",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::BATCH_SIZE),
    "the most items in one batch; more cost memory, fewer cost time",
);
pub(crate) const CHECKPOINT_INTERVAL: Key = key(
    "checkpoint_interval",
    Kind::Integer(1, 1_000_000_000),
    Absent::Integer(defaults::CHECKPOINT_INTERVAL),
    "a named checkpoint is kept every so many batches",
);
pub(crate) const EPOCH_BATCHES: Key = key(
    "epoch_batches",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::EPOCH_BATCHES),
    "the most batches in one commit; with 1 every batch is one",
);
pub(crate) const WINDOW_BYTES: Key = key(
    "window_bytes",
    Kind::Integer(64 * 1024, 1 << 40),
    Absent::Integer(defaults::WINDOW_BYTES),
    "the most bytes of input in flight, at least `line_bytes_max`; the source pauses when it is full",
);
pub(crate) const WINDOW_ITEMS: Key = key(
    "window_items",
    Kind::Integer(1, 1 << 40),
    Absent::Integer(defaults::WINDOW_ITEMS),
    "the most items in flight, at least `batch_size`",
);
pub(crate) const MAX_ELAPSED_SECONDS: Key = key(
    "max_elapsed_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Number(defaults::MAX_ELAPSED_SECONDS),
    "how long an item may be tried again in all; it holds back what is behind it",
);
pub(crate) const ALLOWED_DEAD_LETTER_RATIO: Key = key(
    "allowed_dead_letter_ratio",
    Kind::Number(0.0, 1.0),
    Absent::Number(defaults::ALLOWED_DEAD_LETTER_RATIO),
    "the share of items that may end as dead letters; with more the run ends with exit code 3",
);

pub(super) const RUN_SECTION: Section = Section {
    heading: "[run]",
    of_type: None,
    keys: &[
        WORKERS,
        BATCH_SIZE,
        CHECKPOINT_INTERVAL,
        EPOCH_BATCHES,
        WINDOW_BYTES,
        WINDOW_ITEMS,
        MAX_ELAPSED_SECONDS,
        ALLOWED_DEAD_LETTER_RATIO,
    ],
};

/// Every section, in the order of the reference.
pub(crate) fn sections() -> Vec<Section> {
    let mut sections = vec![TOP, SOURCE_COMMON];
    sections.extend(SOURCES);
    sections.push(STAGE_COMMON);
    sections.extend(STAGES);
    sections.extend([RETRY, SINK_COMMON]);
    sections.extend(SINKS);
    sections.push(RUN_SECTION);
    sections
}
