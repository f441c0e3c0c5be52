//! The keys of the stages `route` and `dedupe`, and of branches.

use super::{Absent, Key, Kind, Section, key};

pub(in crate::file) const BRANCH: Key = key(
    "branch",
    Kind::Name,
    Absent::Words("the items that no route has sent away"),
    "the branch whose items it takes: a name that a `route` before it sends items to",
);

pub(in crate::file) const ROUTES: Key = key(
    "routes",
    Kind::Expressions,
    Absent::Required,
    "names and conditions, in order: a branch that later stages or sinks take, or a sink",
);
pub(in crate::file) const MATCH: Key = key(
    "match",
    Kind::Choice(&["first", "all"]),
    Absent::Text("first"),
    "first: the item goes where the first condition holds; all: a copy goes wherever one holds",
);
pub(in crate::file) const OTHERWISE: Key = key(
    "otherwise",
    Kind::Name,
    Absent::Words("an item for which no condition holds is an error of the stage"),
    "where items go for which no condition holds: a branch, a sink, `skip` to leave them out, or `pass` to let \
     them go on to the next stage",
);

pub(in crate::file) const DEDUPE_KEY: Key = key(
    "key",
    Kind::Expression,
    Absent::Required,
    "an expression; of items for which it gives the same the first passes, and the others are skipped",
);
pub(in crate::file) const HORIZON_ITEMS: Key = key(
    "horizon_items",
    Kind::Integer(1, aqueduct_stream::Horizon::MAX),
    Absent::Words("`horizon_seconds` is needed"),
    "how many items back a key is remembered; 17 to 34 bytes of memory each",
);
pub(in crate::file) const HORIZON_SECONDS: Key = key(
    "horizon_seconds",
    Kind::Integer(1, aqueduct_stream::Horizon::MAX),
    Absent::Words("`horizon_items` is needed"),
    "how long a key is remembered, by the clock of the run",
);

pub(in crate::file) const ROUTE: Section =
    Section { heading: "[[stage]]", of_type: Some("route"), keys: &[ROUTES, MATCH, OTHERWISE] };
pub(in crate::file) const DEDUPE: Section = Section {
    heading: "[[stage]]",
    of_type: Some("dedupe"),
    keys: &[DEDUPE_KEY, HORIZON_ITEMS, HORIZON_SECONDS],
};
