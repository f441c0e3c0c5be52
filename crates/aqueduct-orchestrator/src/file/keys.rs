//! Every key of the pipeline file: what the reader admits and what the reference says.

mod backend;
mod batch;
mod cache;
mod exec;
mod flow;
mod http;
mod model;
mod queue;
mod retention;
mod run;
mod shape;
mod sinks;
mod sources;
mod stages;
mod stand_in;

pub(crate) use backend::*;
pub(super) use batch::*;
pub(crate) use cache::*;
pub(super) use exec::*;
pub(super) use flow::*;
pub(super) use http::*;
pub(super) use model::*;
pub(super) use queue::*;
pub(super) use retention::*;
pub(crate) use run::*;
pub(super) use shape::*;
pub(super) use sinks::*;
pub(super) use sources::*;
pub(super) use stages::*;
pub(super) use stand_in::*;

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
    /// A program and its arguments: a list of texts that may be empty or alike.
    Words,
    /// Names and their texts.
    Texts,
    /// Names and their integers, from 0.
    Integers,
    /// One ASCII character.
    Character,
    /// True or false.
    Boolean,
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
    Kind::Choice(&["exactly-once", "at-least-once", "at-most-once"]),
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
pub(crate) const SINK: Key = key("sink", Kind::Section, Absent::Required, "where items go; one or several");
pub(super) const BACKEND: Key = key(
    "backend",
    Kind::Section,
    Absent::Words("each stage that calls has one of its own, with every default"),
    "what is called, and the rules of every call to it",
);
pub(super) const BUDGET: Key = key(
    "budget",
    Kind::Integers,
    Absent::Words("no limits"),
    "allowances and how much a run may use of each, such as `fetches = 1000`; stages draw on them, and when one is used \
     up the run ends with everything committed and exit code 75. The next run has all of it again",
);
pub(super) const STAND_IN: Key = key(
    "stand_in",
    Kind::Section,
    Absent::Words("all calls are real"),
    "a server of this process that plays the services of the pipeline, to try it without a network",
);
pub(super) const CACHE: Key = key(
    "cache",
    Kind::Section,
    Absent::Words("memory and disk, where something is cached"),
    "where stages of type `cached` and backends with a cache keep results",
);
pub(super) const RUN: Key =
    key("run", Kind::Section, Absent::Words("every default"), "how the pipeline runs");
pub(super) const BATCH: Key = key(
    "batch",
    Kind::Section,
    Absent::Words("the pipeline is a stream, with large batches and commits"),
    "the input ends and is worked on in chunks, with checkpoints exactly as far apart as it says",
);
pub(super) const RETENTION: Key = key(
    "retention",
    Kind::Section,
    Absent::Words("16 checkpoints and all dead letters"),
    "how much is kept of what a run leaves for people",
);
pub(super) const TEST: Key = key(
    "test",
    Kind::Section,
    Absent::Words("none, or those of the file `NAME.test.toml` beside it"),
    "a case for `aqueduct test`; one or several, see the guide",
);

pub(super) const TOP: Section = Section {
    heading: "the file",
    of_type: None,
    keys: &[
        NAME, GUARANTEE, DATA_DIR, SOURCE, BACKEND, BUDGET, CACHE, STAGE, SINK, RUN, BATCH, RETENTION,
        STAND_IN, TEST,
    ],
};

/// Every section, in the order of the reference.
pub(crate) fn sections() -> Vec<Section> {
    let mut sections = vec![TOP, SOURCE_COMMON];
    sections.extend(SOURCES);
    sections.push(BACKEND_SECTION);
    sections.push(BACKEND_CACHE_SECTION);
    sections.push(CACHE_SECTION);
    sections.push(STAGE_COMMON);
    sections.extend(STAGES.iter().copied());
    sections.push(OF_COMMON);
    sections.extend(OF.iter().copied());
    sections.extend([RETRY, SINK_COMMON]);
    sections.extend(SINKS);
    sections.push(RUN_SECTION);
    sections.push(BATCH_SECTION);
    sections.push(RETENTION_SECTION);
    sections.push(STAND_IN_SECTION);
    sections
}
