//! How a run is set, and where each value came from.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Of two variables
//! that set one value the more specific wins: `AQUEDUCT_BATCH_SIZE` over `BATCH_SIZE`. An empty variable counts
//! as unset. A wrong variable is an error even when a flag covers it: somebody meant something by it.

mod variables;

use std::fmt;
use std::time::Duration;

use crate::error::{ConfigError, Place};
use crate::redacted::Redacted;

pub(crate) use self::variables::{Takes, VARIABLES, Variables};

/// Values that hold when nothing is written, each with its reason.
pub(crate) mod defaults {
    use aqueduct_stream::ExecBuilder;

    /// Sixty times the longest of the advisories in the evidence example, and small beside the window.
    pub(crate) const LINE_BYTES_MAX: u64 = 1024 * 1024;
    /// More than a small disk holds, so that who needs more says so.
    pub(crate) const EXPANDED_BYTES_MAX: u64 = aqueduct_stream::EXPANDED_BYTES_MAX;
    /// Four times what logs reach, and a fifth of what a gzip of zeros has.
    pub(crate) const EXPANDED_RATIO_MAX: u64 = aqueduct_stream::EXPANDED_RATIO_MAX;
    /// Requirement B10. Large enough that the work of a batch is small beside that of its items.
    pub(crate) const BATCH_SIZE: u64 = 100;
    /// Requirement A1, for a file with `[batch]`.
    pub(crate) const CHUNK_SIZE: u64 = aqueduct_batch::SIZE as u64;
    /// Requirement A7, where it stands for the rows of one write.
    pub(crate) const WRITE_SIZE: u64 = 100;
    /// Requirement A1.
    pub(crate) const CHECKPOINT_INTERVAL: u64 = 10;
    /// So many that the bytes of an epoch (4 MiB) bound it, whatever the size of a batch: a sync costs the same for
    /// 6,000 items as for 20,000.
    pub(crate) const EPOCH_BATCHES: u64 = 1024;
    /// A fifth of the 150 MiB that a run may take; stages and sinks hold about twice the input again.
    pub(crate) const WINDOW_BYTES: u64 = 32 * 1024 * 1024;
    /// Only very short lines reach it before [`WINDOW_BYTES`].
    pub(crate) const WINDOW_ITEMS: u64 = 1_000_000;
    /// Most outages of a service that end by themselves end within half a minute.
    pub(crate) const MAX_ELAPSED_SECONDS: f64 = 30.0;
    /// A dead letter is a surprise until somebody says how many are not.
    pub(crate) const ALLOWED_DEAD_LETTER_RATIO: f64 = 0.0;
    /// The first try, and two more: the usual rule for a call that failed in passing.
    pub(crate) const RETRY_ATTEMPTS: u64 = 3;
    /// Long enough for a connection to come back, too short to be noticed.
    pub(crate) const RETRY_DELAY_MS: u64 = 100;
    /// A hundred batches. A longer list is an input of its own, and all of it is in memory at once.
    pub(crate) const SPLIT_ITEMS_MAX: u64 = 10_000;
    /// As the stage has it, which says why; so are those below.
    pub(crate) const EXEC_IN_FLIGHT: u64 = ExecBuilder::IN_FLIGHT as u64;
    pub(crate) const EXEC_TIMEOUT_SECONDS: f64 = ExecBuilder::TIMEOUT.as_secs() as f64;
    pub(crate) const EXEC_ANSWER_BYTES_MAX: u64 = ExecBuilder::ANSWER_BYTES_MAX as u64;
    pub(crate) const EXEC_RESTARTS_MAX: u64 = ExecBuilder::RESTARTS_MAX as u64;
    pub(crate) const EXEC_RESTART_WINDOW_SECONDS: f64 = ExecBuilder::RESTART_WINDOW.as_secs() as f64;
    pub(crate) const EXEC_GRACE_SECONDS: f64 = ExecBuilder::GRACE.as_secs() as f64;
    /// Requirement E2: what a stranger's service is sure to bear.
    pub(crate) const REQUESTS_PER_MINUTE: u64 = 60;
    /// Requirement E4, with the two delays below: 2, 4 and 8 seconds.
    pub(crate) const RETRIES: u64 = 3;
    pub(crate) const RETRY_DELAY_SECONDS: f64 = 2.0;
    pub(crate) const RETRY_DELAY_MAX_SECONDS: f64 = 60.0;
    /// A service of which a third of the calls fails still gets each of them repeated. One that is down costs half as much
    /// again, and not four times as much, until its circuit opens.
    pub(crate) const RETRY_BUDGET_RATIO: f64 = 0.5;
    /// Requirement E3, and so is the time that a circuit stays open.
    pub(crate) const BREAKER_FAILURES: u64 = 5;
    pub(crate) const BREAKER_OPEN_SECONDS: u64 = 300;
    /// More than three hosts' connections, so that one slow host leaves room.
    pub(crate) const CALLS_MAX: u64 = 64;
    /// Longer than a page takes, and shorter than people wait.
    pub(crate) const CALL_TIMEOUT_SECONDS: f64 = 30.0;
    /// Room for four attempts, their waits, and a minute in the queue of the quota.
    pub(crate) const DEADLINE_SECONDS: f64 = 300.0;
    /// Requirement E1, and so are the connections to each.
    pub(crate) const POOL_HOSTS: u64 = 10;
    pub(crate) const CONNECTIONS_PER_HOST: u64 = 20;
    /// A healthy host answers in a tenth of it, from anywhere.
    pub(crate) const CONNECT_TIMEOUT_SECONDS: f64 = 10.0;
    /// Most pages are a hundredth of it.
    pub(crate) const RESPONSE_BYTES_MAX: u64 = 10 * 1024 * 1024;
    /// Sites need one or two: to https, and to the name with www.
    pub(crate) const REDIRECTS_MAX: u64 = 5;
    /// Some fifteen thousand tokens: a long page, and a tenth of what models take.
    pub(crate) const TEXT_CHARS_MAX: u64 = 60_000;
    /// Requirement E14.
    pub(crate) const PAGE_SIZE: u64 = 1000;
    /// Four times the calls under way, so that items of an open circuit leave room for others.
    pub(crate) const HTTP_IN_FLIGHT: u64 = 256;
    /// Rather many: a pipeline is killed for more reasons than a message.
    pub(crate) const QUEUE_ATTEMPTS_MAX: u64 = 20;
    /// Requirement C3.
    pub(crate) const QUEUE_ITEMS_MAX: u64 = 10_000;
    /// With the largest messages, two hundred of them.
    pub(crate) const QUEUE_BYTES_MAX: u64 = 256 * 1024 * 1024;
    /// Requirement B10.
    pub(crate) const WORKERS_PER_CORE: u64 = 2;
    /// Requirement A2: entries of the first cache level.
    pub(crate) const MEMORY_CACHE_ENTRIES: u64 = 1_000;
    /// Requirement B10.
    pub(crate) const CACHE_NODES: u64 = 3;
    /// What the level on disk has by itself, which says why.
    pub(crate) const CACHE_DISK_BYTES: u64 = 1 << 30;
    /// Long enough for most runs to ask once for what they need, short enough that nobody wonders the next day.
    pub(crate) const CACHE_TTL_SECONDS: f64 = 300.0;
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, as it was written.
    Flag(String),
    /// An environment variable.
    Variable(&'static str),
    /// The pipeline file.
    File,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::File => f.write_str("file"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A share between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// The caller has checked the range.
    pub(crate) fn checked(value: f64) -> Self {
        Self(value.clamp(0.0, 1.0))
    }

    /// The share as a number between 0 and 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Every setting of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Threads that work on batches. Default: two for each core.
    pub workers: Setting<usize>,
    /// The most items in one batch. Default 100, and 50 in a file with `[batch]`.
    pub batch_size: Setting<usize>,
    /// The most results in one call of a sink that sends them elsewhere. Default 100. A write to a database has
    /// none: an epoch is one transaction whatever its size.
    pub write_size: Setting<usize>,
    /// A named checkpoint is kept every so many batches. Default 10.
    pub checkpoint_interval: Setting<u64>,
    /// The most batches in one commit. Default 64.
    pub epoch_batches: Setting<usize>,
    /// The most bytes of input in flight. Default 32 MiB.
    pub window_bytes: Setting<usize>,
    /// The most items in flight. Default 1,000,000.
    pub window_items: Setting<usize>,
    /// How long an item may be tried again in all. Default 30 s.
    pub max_elapsed: Setting<Duration>,
    /// The share of items that may end as dead letters. Default 0.
    pub allowed_dead_letter_ratio: Setting<Ratio>,
    /// The data folder, relative to the pipeline file. Default `.aqueduct/` and the pipeline's name.
    pub data_dir: Setting<Redacted>,
    /// The most results in memory of a stage that caches and does not say. Default 1,000.
    pub memory_cache_entries: Setting<usize>,
    /// Nodes of a cache that is spread over several, as the environment says it: a number, or addresses. Default 3, for a
    /// file that asks for nodes and does not say how many. [`CacheSpec::shared`](crate::CacheSpec::shared) has what is used.
    pub cache_nodes: Setting<Redacted>,
    /// The Redis server of the environment, if one is set.
    pub redis_url: Option<Setting<Redacted>>,
    /// The OTLP collector, if one is set. Kept for telemetry, which does not exist yet.
    pub otel_endpoint: Option<Setting<Redacted>>,
}

/// One setting for a person to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingLine {
    /// The key of the file, or the name of the variable where the file has none.
    pub name: &'static str,
    /// The value; secrets as references.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// False for a setting that is read and checked, and that no part uses yet.
    pub used: bool,
}

impl Settings {
    /// Every setting, for `check --verbose` and `explain`.
    #[must_use]
    pub fn lines(&self) -> Vec<SettingLine> {
        fn line<T: fmt::Display>(name: &'static str, setting: &Setting<T>, used: bool) -> SettingLine {
            SettingLine { name, value: setting.value.to_string(), origin: setting.origin.clone(), used }
        }
        let seconds = Setting {
            value: format!("{} s", self.max_elapsed.value.as_secs_f64()),
            origin: self.max_elapsed.origin.clone(),
        };
        let unset =
            |name, used| SettingLine { name, value: "unset".to_owned(), origin: Origin::Default, used };
        vec![
            line("run.workers", &self.workers, true),
            line("run.batch_size", &self.batch_size, true),
            line("run.checkpoint_interval", &self.checkpoint_interval, true),
            line("run.epoch_batches", &self.epoch_batches, true),
            line("run.window_bytes", &self.window_bytes, true),
            line("run.window_items", &self.window_items, true),
            line("run.max_elapsed_seconds", &seconds, true),
            line("run.allowed_dead_letter_ratio", &self.allowed_dead_letter_ratio, true),
            line("data_dir", &self.data_dir, true),
            line("BATCH_SIZE (writes)", &self.write_size, true),
            line("MEMORY_CACHE_SIZE", &self.memory_cache_entries, true),
            line("AQUEDUCT_CACHE_NODES", &self.cache_nodes, true),
            self.redis_url
                .as_ref()
                .map_or_else(|| unset("REDIS_URL", true), |url| line("REDIS_URL", url, true)),
            self.otel_endpoint
                .as_ref()
                .map_or_else(|| unset("OTEL_ENDPOINT", false), |url| line("OTEL_ENDPOINT", url, false)),
        ]
    }
}

/// What a flag or the file says about one setting.
pub(crate) struct Written<T> {
    pub(crate) value: T,
    /// The flag it stands in; none for the file.
    pub(crate) flag: Option<String>,
}

/// What flags and the file say about all of them.
#[derive(Default)]
pub(crate) struct WrittenSettings {
    pub(crate) workers: Option<Written<u64>>,
    pub(crate) batch_size: Option<Written<u64>>,
    pub(crate) checkpoint_interval: Option<Written<u64>>,
    pub(crate) epoch_batches: Option<Written<u64>>,
    pub(crate) window_bytes: Option<Written<u64>>,
    pub(crate) window_items: Option<Written<u64>>,
    pub(crate) max_elapsed_seconds: Option<Written<f64>>,
    pub(crate) allowed_dead_letter_ratio: Option<Written<f64>>,
    pub(crate) data_dir: Option<Written<Redacted>>,
    /// The file has `[batch]`, which has another default.
    pub(crate) is_batch: bool,
}

/// Joins what was written with the environment and the defaults.
pub(crate) fn resolve(
    written: WrittenSettings,
    pipeline: &str,
    cores: usize,
    variables: &Variables,
) -> Settings {
    let cores = u64::try_from(cores.max(1)).unwrap_or(u64::MAX);
    let workers = cores.saturating_mul(defaults::WORKERS_PER_CORE).min(1024);
    let data_dir = Redacted::plain(format!(".aqueduct/{pipeline}"));
    let integer = |written, names: &[&'static str], default| {
        let variable = names.iter().find_map(|name| variables.integer(name));
        join(written, variable, default)
    };
    Settings {
        workers: size(integer(written.workers, &["AQUEDUCT_MAX_WORKERS"], workers)),
        batch_size: size(integer(
            written.batch_size,
            &["AQUEDUCT_BATCH_SIZE", "BATCH_SIZE"],
            if written.is_batch { defaults::CHUNK_SIZE } else { defaults::BATCH_SIZE },
        )),
        write_size: size(integer(None, &["BATCH_SIZE"], defaults::WRITE_SIZE)),
        checkpoint_interval: integer(
            written.checkpoint_interval,
            &["CHECKPOINT_INTERVAL"],
            defaults::CHECKPOINT_INTERVAL,
        ),
        epoch_batches: size(integer(written.epoch_batches, &[], defaults::EPOCH_BATCHES)),
        window_bytes: size(integer(written.window_bytes, &[], defaults::WINDOW_BYTES)),
        window_items: size(integer(written.window_items, &[], defaults::WINDOW_ITEMS)),
        memory_cache_entries: size(integer(None, &["MEMORY_CACHE_SIZE"], defaults::MEMORY_CACHE_ENTRIES)),
        cache_nodes: variables.text("AQUEDUCT_CACHE_NODES").map_or_else(
            || Setting { value: Redacted::plain(defaults::CACHE_NODES.to_string()), origin: Origin::Default },
            |nodes| variable("AQUEDUCT_CACHE_NODES", nodes),
        ),
        max_elapsed: map(
            join(written.max_elapsed_seconds, None, defaults::MAX_ELAPSED_SECONDS),
            Duration::from_secs_f64,
        ),
        allowed_dead_letter_ratio: map(
            join(written.allowed_dead_letter_ratio, None, defaults::ALLOWED_DEAD_LETTER_RATIO),
            Ratio::checked,
        ),
        data_dir: join(written.data_dir, None, data_dir),
        redis_url: variables.text("REDIS_URL").map(|value| variable("REDIS_URL", value)),
        otel_endpoint: variables.text("OTEL_ENDPOINT").map(|value| variable("OTEL_ENDPOINT", value)),
    }
}

fn variable<T>(name: &'static str, value: T) -> Setting<T> {
    Setting { value, origin: Origin::Variable(name) }
}

/// The strongest of the values.
pub(crate) fn join<T>(
    written: Option<Written<T>>,
    from_environment: Option<(&'static str, T)>,
    default: T,
) -> Setting<T> {
    match (written, from_environment) {
        (Some(Written { value, flag: Some(flag) }), _) => Setting { value, origin: Origin::Flag(flag) },
        (_, Some((name, value))) => variable(name, value),
        (Some(Written { value, flag: None }), None) => Setting { value, origin: Origin::File },
        (None, None) => Setting { value: default, origin: Origin::Default },
    }
}

fn map<T, U>(setting: Setting<T>, change: impl FnOnce(T) -> U) -> Setting<U> {
    Setting { value: change(setting.value), origin: setting.origin }
}

fn size(setting: Setting<u64>) -> Setting<usize> {
    // Every range fits the pointers of the machines that Rust's std supports here; a smaller one is capped.
    map(setting, |value| usize::try_from(value).unwrap_or(usize::MAX))
}

/// An error of a variable.
fn wrong(name: &'static str, message: String) -> ConfigError {
    ConfigError::new(Place::Variable { name }, message, None)
}
