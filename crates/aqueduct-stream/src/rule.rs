use std::time::Duration;

use aqueduct_retry::{Growth, Jitter, Schedule};

/// What happens to an item on which a stage failed for good.
///
/// Errors of the classes transient and overload are tried again first, whatever the rule; the rule is for what
/// is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Commit everything before the item and stop the run. Nothing is lost and nothing is guessed.
    #[default]
    Stop,
    /// Leave the item out and count it as skipped.
    Skip,
    /// Try again whatever the class, until the schedule ends; then stop.
    Retry,
    /// Keep the item aside with its reason, in the same commit as the position.
    DeadLetter,
}

impl OnError {
    /// The name used in pipeline files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Skip => "skip",
            Self::Retry => "retry",
            Self::DeadLetter => "dead-letter",
        }
    }
}

/// The rule of one stage: what to do with errors, and how to try again.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What happens to an item for good.
    pub on_error: OnError,
    /// How retryable errors are tried again.
    pub schedule: Schedule,
}

impl Rule {
    /// How long an item may be tried again, in all. It holds back everything behind it for that long.
    pub const ELAPSED_MAX: Duration = Duration::from_secs(30);

    /// The first wait of the engine's own schedule, before jitter: longer than most hiccups of a local service.
    pub const FIRST_DELAY: Duration = Duration::from_millis(100);

    /// The longest wait of the engine's own schedule, before jitter: a service that is back is noticed within it.
    pub const DELAY_MAX: Duration = Duration::from_secs(5);

    /// A rule with the engine's own schedule: exponential from [`Rule::FIRST_DELAY`] to [`Rule::DELAY_MAX`], full
    /// jitter, until [`Rule::ELAPSED_MAX`].
    #[must_use]
    pub fn new(on_error: OnError) -> Self {
        Self { on_error, schedule: default_schedule() }
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self::new(OnError::default())
    }
}

/// Doubles its waits, each cut by full jitter, as long as the item may hold up the others.
fn default_schedule() -> Schedule {
    Schedule::builder(Growth::Exponential { first: Rule::FIRST_DELAY, factor: 2.0 })
        .jitter(Jitter::Full)
        .retries_max(RETRIES_MAX)
        .delay_max(Rule::DELAY_MAX)
        .elapsed_max(Rule::ELAPSED_MAX)
        .build()
        .expect("constants within the ranges of the builder")
}

/// Time is the bound that matters to the items behind; this one only ends a service that fails at once.
const RETRIES_MAX: u32 = 20;
