//! The keys of the stages `split`, `sample` and `assert`.

use super::{Absent, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const SPLIT_FIELD: Key =
    key("field", Kind::Field, Absent::Required, "the field that holds a list; each element becomes an item");
pub(in crate::file) const SPLIT_AS: Key = key(
    "as",
    Kind::Field,
    Absent::Words("an object becomes the item itself, anything else its field `value`"),
    "the field of the new item that holds the element, whatever it is",
);
pub(in crate::file) const SPLIT_KEEP: Key = key(
    "keep",
    Kind::List,
    Absent::Words("no field"),
    "the fields of the item that go into each new one; a field of the element itself wins",
);
pub(in crate::file) const ITEMS_MAX: Key = key(
    "items_max",
    Kind::Integer(1, 1_000_000),
    Absent::Integer(defaults::SPLIT_ITEMS_MAX),
    "the most elements; a longer list goes the way of `on_error` as a whole",
);

pub(in crate::file) const SAMPLE_RATIO: Key =
    key("ratio", Kind::Number(0.0, 1.0), Absent::Required, "the share of items that pass");
pub(in crate::file) const SAMPLE_SEED: Key = key(
    "seed",
    Kind::Integer(0, i64::MAX as u64),
    Absent::Integer(0),
    "another seed is another sample; the same seed and input give the same one, in every run",
);
pub(in crate::file) const SAMPLE_KEY: Key = key(
    "key",
    Kind::Expression,
    Absent::Words("each item by itself"),
    "an expression; items for which it gives the same pass or stay out together",
);

pub(in crate::file) const ASSERT_WHEN: Key =
    key("when", Kind::Expression, Absent::Required, "what must hold: an expression that gives true or false");
pub(in crate::file) const ASSERT_MESSAGE: Key = key(
    "message",
    Kind::Text,
    Absent::Words("the expression alone"),
    "what to say of an item for which it does not hold, shown as it is written",
);

pub(in crate::file) const SPLIT: Section = Section {
    heading: "[[stage]]",
    of_type: Some("split"),
    keys: &[SPLIT_FIELD, SPLIT_AS, SPLIT_KEEP, ITEMS_MAX],
};
pub(in crate::file) const SAMPLE: Section =
    Section { heading: "[[stage]]", of_type: Some("sample"), keys: &[SAMPLE_RATIO, SAMPLE_SEED, SAMPLE_KEY] };
pub(in crate::file) const ASSERT: Section =
    Section { heading: "[[stage]]", of_type: Some("assert"), keys: &[ASSERT_WHEN, ASSERT_MESSAGE] };
