//! The keys of the source and the sink `queue`.

use super::{Absent, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const QUEUE_PATH: Key = key(
    "path",
    Kind::Text,
    Absent::Required,
    "the file of queues, relative to the pipeline file; it is made if absent. One process has it at a time",
);
pub(in crate::file) const QUEUE_NAME: Key =
    key("queue", Kind::Name, Absent::Required, "the queue in that file; it is made if absent");

pub(in crate::file) const GROUP: Key = key(
    "group",
    Kind::Name,
    Absent::Text("default"),
    "the group of consumers whose messages are taken; each group has copies of its own",
);
pub(in crate::file) const TOPICS: Key = key(
    "topics",
    Kind::Text,
    Absent::Text(">"),
    "which topics the group gets, if it is new: words with points in between, of which `*` stands for one and `>` at the \
     end for the rest",
);
pub(in crate::file) const LEASE_SECONDS: Key = key(
    "lease_seconds",
    Kind::Number(0.001, 604_800.0),
    Absent::Number(30.0),
    "how long a message stays with a run that does not move any more; one that moves keeps it as long as it takes",
);
pub(in crate::file) const ATTEMPTS_MAX: Key = key(
    "attempts_max",
    Kind::Integer(1, 65_535),
    Absent::Integer(defaults::QUEUE_ATTEMPTS_MAX),
    "how often a message may be under way when its process dies before it becomes a dead letter of the queue",
);
pub(in crate::file) const UNTIL: Key = key(
    "until",
    Kind::Choice(&["stopped", "empty"]),
    Absent::Text("stopped"),
    "stopped: the run waits for messages until it is asked to end; empty: it ends when there is none and none is delayed",
);

pub(in crate::file) const QUEUE_SOURCE: Section = Section {
    heading: "[source]",
    of_type: Some("queue"),
    keys: &[QUEUE_PATH, QUEUE_NAME, GROUP, TOPICS, LEASE_SECONDS, ATTEMPTS_MAX, UNTIL],
};

pub(in crate::file) const TOPIC: Key = key(
    "topic",
    Kind::Text,
    Absent::Words("none; for groups that take everything"),
    "what the messages are about, such as `orders.paid`",
);
pub(in crate::file) const PRIORITY: Key = key(
    "priority",
    Kind::Choice(&["low", "normal", "high", "critical"]),
    Absent::Text("normal"),
    "which of a tenant's messages go first",
);
pub(in crate::file) const MESSAGE_KEY: Key = key(
    "key",
    Kind::Expression,
    Absent::Words("no order but that of the queue"),
    "an expression; messages for which it gives the same are worked on one after the other",
);
pub(in crate::file) const MESSAGE_TENANT: Key = key(
    "tenant",
    Kind::Expression,
    Absent::Words("all alike"),
    "an expression; those for which it differs share the time of the workers fairly",
);
pub(in crate::file) const QUEUE_ITEMS_MAX: Key = key(
    "items_max",
    Kind::Integer(1, 1_000_000_000),
    Absent::Integer(defaults::QUEUE_ITEMS_MAX),
    "the most messages that wait in each group; the pipeline waits when there are as many",
);
pub(in crate::file) const QUEUE_BYTES_MAX: Key = key(
    "bytes_max",
    Kind::Integer(1, 1 << 50),
    Absent::Integer(defaults::QUEUE_BYTES_MAX),
    "the most bytes of messages that wait in each group",
);

pub(in crate::file) const QUEUE_SINK: Section = Section {
    heading: "[[sink]]",
    of_type: Some("queue"),
    keys: &[
        QUEUE_PATH,
        QUEUE_NAME,
        TOPIC,
        PRIORITY,
        MESSAGE_KEY,
        MESSAGE_TENANT,
        QUEUE_ITEMS_MAX,
        QUEUE_BYTES_MAX,
    ],
};
