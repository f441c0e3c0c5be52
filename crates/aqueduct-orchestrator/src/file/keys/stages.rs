//! The keys of `[[stage]]`.

use super::{Absent, Key, Kind, ON_ERROR, Section, key};
use crate::settings::defaults;

pub(in crate::file) const STAGE_NAME: Key =
    key("name", Kind::Name, Absent::Required, "the stage's name, unique among stages; dead letters carry it");
pub(in crate::file) const STAGE_TYPE: Key = key(
    "type",
    Kind::Choice(&["map", "filter", "alert"]),
    Absent::Required,
    "map: writes new fields; filter: lets items pass; alert: writes a record about some of them",
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
    Absent::Words("the defaults of `[stage.retry]`"),
    "how often and how fast, with `on_error = \"retry\"` only",
);
pub(in crate::file) const ATTEMPTS: Key = key(
    "attempts",
    Kind::Integer(2, 100),
    Absent::Integer(defaults::RETRY_ATTEMPTS),
    "how often the stage is tried in all, the first time included",
);
pub(in crate::file) const DELAY_MS: Key = key(
    "delay_ms",
    Kind::Integer(1, 60_000),
    Absent::Integer(defaults::RETRY_DELAY_MS),
    "the first wait in milliseconds; later waits grow",
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
    keys: &[STAGE_NAME, STAGE_TYPE, STAGE_ON_ERROR, STAGE_RETRY],
};
pub(in crate::file) const RETRY: Section =
    Section { heading: "[stage.retry]", of_type: None, keys: &[ATTEMPTS, DELAY_MS] };
pub(in crate::file) const STAGES: [Section; 3] = [
    Section { heading: "[[stage]]", of_type: Some("map"), keys: &[KEEP, SET] },
    Section { heading: "[[stage]]", of_type: Some("filter"), keys: &[WHEN] },
    Section {
        heading: "[[stage]]",
        of_type: Some("alert"),
        keys: &[WHEN, TO, ALERT_ID, ALERT_SCORE, ALERT_THRESHOLD],
    },
];
