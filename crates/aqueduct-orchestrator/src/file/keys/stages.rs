//! The keys of `[[stage]]`.

use super::{
    ASSERT, Absent, BRANCH, BUDGET_STAGE, CACHED, DEDUPE, EXEC, HTTP, Key, Kind, MODEL_STAGE, ON_ERROR,
    ROUTE, SAMPLE, SPLIT, Section, key,
};
use crate::settings::defaults;

pub(in crate::file) const STAGE_NAME: Key =
    key("name", Kind::Name, Absent::Required, "the stage's name, unique among stages; dead letters carry it");
pub(in crate::file) const STAGE_TYPE: Key = key(
    "type",
    Kind::Choice(&[
        "map", "filter", "alert", "route", "dedupe", "split", "sample", "assert", "exec", "http", "model",
        "budget", "cached",
    ]),
    Absent::Required,
    "map: writes new fields; filter: lets items pass; alert: writes a record about some of them; route: sends items to \
     branches and sinks; dedupe: lets the first item of a key pass; split: makes an item \
     of each element of a list; sample: lets a share pass; assert: fails on items for which a condition does not hold; \
     exec: gives items to a program; http: makes a call for each item; model: asks a language model; budget: draws on an allowance; \
     cached: does another stage only for what is not in the cache",
);
pub(in crate::file) const STAGE_ON_ERROR: Key = key(
    "on_error",
    Kind::Choice(ON_ERROR),
    Absent::Text("stop"),
    "what happens to an item on which the stage fails for good; retry stops when its attempts are spent",
);
pub(in crate::file) const STAGE_RETRY: Key = key(
    "retry",
    Kind::Section,
    Absent::Words("20 times within `run.max_elapsed_seconds`; with `retry` the defaults of `[stage.retry]`"),
    "how often and how fast errors that may pass are tried again, whatever `on_error` says; with \
     `on_error = \"retry\"` all errors",
);
pub(in crate::file) const ATTEMPTS: Key = key(
    "attempts",
    Kind::Integer(1, 100),
    Absent::Integer(defaults::RETRY_ATTEMPTS),
    "how often the stage is tried in all, the first time included; with 1 it is never tried again",
);
pub(in crate::file) const DELAY_MS: Key = key(
    "delay_ms",
    Kind::Integer(1, 60_000),
    Absent::Integer(defaults::RETRY_DELAY_MS),
    "the first wait in milliseconds; each later one may be twice as long, and chance cuts all of them (full jitter)",
);
pub(in crate::file) const RETRY_ELAPSED: Key = key(
    "max_elapsed_seconds",
    Kind::Number(0.001, 86_400.0),
    Absent::Words("`run.max_elapsed_seconds`"),
    "how long an item may be tried again by this stage; it holds back what is behind it",
);
pub(in crate::file) const KEEP: Key =
    key("keep", Kind::List, Absent::Words("all fields"), "the fields that are carried over");
pub(in crate::file) const SET: Key = key(
    "set",
    Kind::Expressions,
    Absent::Words("no new fields"),
    "new fields and their expressions, in order; each reads the item as it came in",
);
pub(in crate::file) const WHEN: Key =
    key("when", Kind::Expression, Absent::Required, "which items: an expression that gives true or false");
pub(in crate::file) const TO: Key = key("to", Kind::Name, Absent::Required, "the sink that takes the alerts");
pub(in crate::file) const ALERT_ID: Key =
    key("id", Kind::Field, Absent::Text("id"), "the field of the item that becomes the alert's `id`");
pub(in crate::file) const ALERT_SCORE: Key = key(
    "score",
    Kind::Field,
    Absent::Words("the field that `when` compares, else `score`"),
    "the field of the item that becomes the alert's `score`",
);
pub(in crate::file) const ALERT_THRESHOLD: Key = key(
    "threshold",
    Kind::Number(f64::MIN, f64::MAX),
    Absent::Words("the number in `when`, if it has the form `item.field < number`; else required"),
    "the alert's `threshold`",
);

pub(in crate::file) const STAGE_COMMON: Section = Section {
    heading: "[[stage]]",
    of_type: None,
    keys: &[STAGE_NAME, STAGE_TYPE, BRANCH, STAGE_ON_ERROR, STAGE_RETRY],
};
pub(in crate::file) const RETRY: Section =
    Section { heading: "[stage.retry]", of_type: None, keys: &[ATTEMPTS, DELAY_MS, RETRY_ELAPSED] };
pub(in crate::file) const STAGES: &[Section] = &[
    Section { heading: "[[stage]]", of_type: Some("map"), keys: &[KEEP, SET] },
    Section { heading: "[[stage]]", of_type: Some("filter"), keys: &[WHEN] },
    Section {
        heading: "[[stage]]",
        of_type: Some("alert"),
        keys: &[WHEN, TO, ALERT_ID, ALERT_SCORE, ALERT_THRESHOLD],
    },
    ROUTE,
    DEDUPE,
    SPLIT,
    SAMPLE,
    ASSERT,
    EXEC,
    HTTP,
    MODEL_STAGE,
    BUDGET_STAGE,
    CACHED,
];
