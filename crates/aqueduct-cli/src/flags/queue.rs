//! What can be typed about a file of queues.

use std::path::PathBuf;

use aqueduct_core::ConfigError;
use aqueduct_queue::{DeadCause, MessageId, Priority, State, Topic};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use super::Output;
use super::letters::rate;

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Lists every queue and group: what is ready, delayed and dead, how large it is and how long the oldest waits
    #[command(after_help = LS_HELP)]
    Ls(QueueFile),
    /// Looks at messages and takes none
    #[command(after_help = PEEK_HELP)]
    Peek(QueuePeek),
    /// Puts messages into a queue, one for each line of the standard input
    #[command(after_help = PUBLISH_HELP)]
    Publish(Publish),
    /// Puts dead letters of a queue back into it, as if they had never been tried
    #[command(after_help = REDRIVE_HELP)]
    Redrive(QueueRedrive),
    /// Removes messages for good
    #[command(after_help = PURGE_HELP)]
    Purge(QueuePurge),
    /// Hands out nothing of a group from now on, over runs; publishing goes on while there is room
    #[command(after_help = PAUSE_HELP)]
    Pause(QueueGroup),
    /// Hands out again
    #[command(after_help = PAUSE_HELP)]
    Resume(QueueGroup),
    /// Looks at every page and every record of a file of queues, and changes nothing. Exit 1 when something is damaged
    #[command(after_help = VERIFY_HELP)]
    Verify(QueueFile),
    /// Writes what can be read of a damaged file into a new one, and leaves the old one as it is
    #[command(after_help = REPAIR_HELP)]
    Repair(Repair),
}

const LS_HELP: &str = "\
A file belongs to one process: while a run has it, nobody else can look.

Examples:
  aqueduct queue ls queues.redb
  aqueduct queue ls queues.redb -o json | jq '.[] | select(.dead > 0)'";

const PEEK_HELP: &str = "\
Messages come in the order of their numbers, which is that of publishing; priorities and tenants change what is handed out
first. A body is shortened to a line for people, and whole in JSON.

Examples:
  aqueduct queue peek queues.redb orders
  aqueduct queue peek queues.redb orders --state dead           why messages were set aside
  aqueduct queue peek queues.redb orders --after 120 --limit 50 the page behind message 120
  aqueduct queue peek queues.redb orders -o jsonl | jq -r .body";

const PUBLISH_HELP: &str = "\
A line is the body of a message; an empty line is none. The file and the queue are made if they are not there. Lines go in a
thousand at a time: all of a thousand or none. When it ends early it says how many are in; with --dedup-id the same
input may be given again, and what is in is not taken twice. It never waits for room, since nobody can make any meanwhile.

Examples:
  echo '{\"order\":17}' | aqueduct queue publish queues.redb orders
  aqueduct queue publish queues.redb orders --priority high --tenant acme < orders.jsonl
  aqueduct queue publish queues.redb orders --dedup-id import-7 < orders.jsonl      safe to repeat for an hour
  aqueduct queue publish queues.redb orders --delay 3600 < later.jsonl";

const REDRIVE_HELP: &str = "\
A dead letter of a queue is a message that was under way too often when its process died, that a worker refused, or that
could not be read. What a stage of a pipeline failed on is a dead letter of the pipeline; see `aqueduct dlq`.

Examples:
  aqueduct queue redrive queues.redb orders --preview              how many that would be
  aqueduct queue redrive queues.redb orders --cause attempts --rate 10
  aqueduct queue redrive queues.redb orders --reason timeout --tenant acme --limit 100";

const PURGE_HELP: &str = "\
It tells how many messages that is, and asks on a terminal; elsewhere say --yes.

Examples:
  aqueduct queue purge queues.redb orders --state dead
  aqueduct queue purge queues.redb orders --state all --yes";

const PAUSE_HELP: &str = "\
Examples:
  aqueduct queue pause queues.redb orders --group billing     a run that takes from it gets nothing, and waits
  aqueduct queue resume queues.redb orders --group billing";

const VERIFY_HELP: &str = "\
Examples:
  aqueduct queue verify queues.redb
  aqueduct queue verify queues.redb -o json | jq .damaged";

const REPAIR_HELP: &str = "\
A message of which a half can be read becomes a dead letter of cause corrupt, in the queue `repaired` where its own is not
known. Exit 1 when a message is missing in the new file, or is there by half only.

Examples:
  aqueduct queue repair queues.redb --to repaired.redb
  aqueduct queue peek repaired.redb orders --state dead";

#[derive(Debug, Args)]
pub(crate) struct QueueFile {
    /// The file of queues: `path` of a source or a sink of type "queue"
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct QueueGroup {
    /// The file of queues: `path` of a source or a sink of type "queue"
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The queue in it
    #[arg(value_name = "QUEUE")]
    pub(crate) queue: String,
    /// The group of consumers [default: the only one, or `default` where there are several]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Where a message is that nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Waiting {
    /// It can be handed out, or waits for the one before it with the same key
    Ready,
    /// Its time has not come
    Delayed,
    /// It was set aside
    Dead,
}

impl Waiting {
    /// What the queue calls it.
    pub(crate) fn state(self) -> State {
        match self {
            Self::Ready => State::Ready,
            Self::Delayed => State::Delayed,
            Self::Dead => State::Dead,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Delayed => "delayed",
            Self::Dead => "dead",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct QueuePeek {
    #[command(flatten)]
    pub(crate) group: QueueGroup,
    /// Which messages
    #[arg(long, value_enum, value_name = "STATE", default_value_t = Waiting::Ready)]
    pub(crate) state: Waiting,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Only those behind the message of this number
    #[arg(long, value_name = "ID", value_parser = message_id())]
    pub(crate) after: Option<MessageId>,
}

/// Which messages a purge removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purged {
    /// What can be handed out
    Ready,
    /// Whose time has not come
    Delayed,
    /// What was set aside
    Dead,
    /// Everything
    All,
}

impl Purged {
    /// The states that it names.
    pub(crate) fn states(self) -> &'static [State] {
        match self {
            Self::Ready => &[State::Ready],
            Self::Delayed => &[State::Delayed],
            Self::Dead => &[State::Dead],
            Self::All => &[State::Ready, State::Delayed, State::Dead],
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct QueuePurge {
    #[command(flatten)]
    pub(crate) group: QueueGroup,
    /// Which messages
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: Purged,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QueueRedrive {
    #[command(flatten)]
    pub(crate) group: QueueGroup,
    /// Count them, and put none back
    #[arg(long)]
    pub(crate) preview: bool,
    /// Only those that died of this
    #[arg(long, value_name = "CAUSE", value_parser = cause())]
    pub(crate) cause: Option<DeadCause>,
    /// Only those whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// At most so many a second, evenly [default: as fast as the disk takes them]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The file of queues, made if absent
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The queue in it, made if absent
    #[arg(value_name = "QUEUE")]
    pub(crate) queue: String,
    /// What the messages are about: words with points in between. Each group whose topics fit gets a copy
    #[arg(long, value_name = "TOPIC", value_parser = topic)]
    pub(crate) topic: Option<Topic>,
    /// What goes first within a tenant
    #[arg(long, value_name = "PRIORITY", value_parser = priority(), default_value = "normal")]
    pub(crate) priority: Priority,
    /// Messages of one key are worked on one after the other, in the order in which they were published
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Whose the messages are: tenants share the workers' time
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// Nobody gets them for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) delay: u64,
    /// A message with an id that the queue has seen within an hour is not taken again. The first message has ID, the
    /// second ID:2, and so on
    #[arg(long, value_name = "ID")]
    pub(crate) dedup_id: Option<String>,
    /// The most messages that may wait in a group: `items_max` of the sink, which is not kept in the file
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) items_max: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The damaged file; it is left as it is
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The new file, which must not be there yet
    #[arg(long, value_name = "NEW")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

fn topic(text: &str) -> Result<Topic, ConfigError> {
    Topic::new(text)
}

fn message_id() -> impl TypedValueParser<Value = MessageId> {
    // Behind the greatest number there is nothing.
    clap::value_parser!(u64).range(..u64::MAX).map(MessageId)
}

fn priority() -> impl TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(Priority::ALL.map(Priority::as_str)).map(|name| {
        // The parser above admits these names only.
        Priority::ALL.into_iter().find(|priority| priority.as_str() == name).unwrap_or_default()
    })
}

/// What a cause is called, on the command line and in what is printed.
pub(crate) fn cause_name(cause: DeadCause) -> &'static str {
    match cause {
        DeadCause::Attempts => "attempts",
        DeadCause::Refused => "refused",
        DeadCause::Corrupt => "corrupt",
    }
}

const CAUSES: [DeadCause; 3] = [DeadCause::Attempts, DeadCause::Refused, DeadCause::Corrupt];

fn cause() -> impl TypedValueParser<Value = DeadCause> {
    PossibleValuesParser::new(CAUSES.map(cause_name)).map(|name| {
        // The parser above admits these names only.
        CAUSES.into_iter().find(|cause| cause_name(*cause) == name).unwrap_or(DeadCause::Corrupt)
    })
}
