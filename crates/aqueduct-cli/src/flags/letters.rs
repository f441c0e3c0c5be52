//! What can be typed about dead letters.

use std::path::PathBuf;

use aqueduct_core::{Clock, ErrorClass, Timestamp};
use aqueduct_store::DeadLetterFilter;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::{Output, PipelineFile};

/// Which dead letters: the same for every verb.
#[derive(Clone, Debug, Args)]
pub(crate) struct Letters {
    /// Only those of this stage or sink (`source` for input that could not be read)
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: Option<String>,
    /// Only those whose error has this class
    #[arg(long, value_name = "CLASS", value_parser = class())]
    pub(crate) class: Option<ErrorClass>,
    /// Only those whose reason contains this text, in any case
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only those that failed last at this time or later: 2026-01-31T08:30:00Z, 2026-01-31, or 2h ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Timestamp>,
    /// Only those that failed last before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Timestamp>,
    /// Only those of this item, as `dlq ls` prints it (may be repeated)
    #[arg(long = "item", value_name = "ID")]
    pub(crate) items: Vec<String>,
    /// At most this many, in the order of the input
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

impl Letters {
    /// The filter for the store, without page and limit.
    pub(crate) fn filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            stage: self.stage.clone(),
            class: self.class,
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            items: self.items.clone(),
            ..DeadLetterFilter::default()
        }
    }
}

const EXPORT_SHAPE: &str = "\
Each line has: payload (as the stage saw it, number by number; null when the input never became a record), item, stage, \
class, reason, attempts, first and last (times of failing), payload_base64 (only of a payload that is no JSON object), \
and original: bytes, cut, text or (where it is not UTF-8) base64, and where it is cut offset and sha256 of the whole.

A file appears when it is complete. One that is there is never replaced.";

#[derive(Debug, Args)]
#[command(after_help = EXPORT_SHAPE)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Where to: a file that is not there yet, or `-` for standard output
    #[arg(long, value_name = "PATH", default_value = "-")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The item, as `dlq ls` prints it
    pub(crate) item: String,
    /// The pipeline file; paths in it are relative to it
    #[arg(value_name = "FILE", default_value = "pipeline.toml")]
    pub(crate) file: PathBuf,
    /// Set one field of the payload; VALUE is JSON, or else a text (may be repeated)
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<String>,
    /// Take a field out of the payload (may be repeated)
    #[arg(long, value_name = "FIELD")]
    pub(crate) unset: Vec<String>,
    /// Replace the whole payload by the JSON object in this file, or on standard input for `-`
    #[arg(long, value_name = "PATH", conflicts_with_all = ["set", "unset"])]
    pub(crate) payload: Option<PathBuf>,
    /// Which letter, when the item has one at several stages
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: Option<String>,
    /// Set one key of the pipeline file for this call, as --set does elsewhere (may be repeated)
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) file_set: Vec<String>,
    /// The folder for the lock and, without a database sink, the ledger [default: .aqueduct/NAME beside FILE]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    pub(crate) file: PipelineFile,
    #[command(flatten)]
    pub(crate) letters: Letters,
    /// At most so many a second, evenly [default: as fast as the stages take them]
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Replay although the source, what a stage remembers, or the columns of a sink have changed since the last run
    #[arg(long)]
    pub(crate) accept_change: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Reads a rate: letters a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(rate),
        _ => Err("a rate is a number of letters a second, at least 0.001".to_owned()),
    }
}

const CLASSES: [ErrorClass; 6] = [
    ErrorClass::Invalid,
    ErrorClass::Overload,
    ErrorClass::Transient,
    ErrorClass::Permanent,
    ErrorClass::Cancelled,
    ErrorClass::Internal,
];

fn class() -> impl TypedValueParser<Value = ErrorClass> {
    PossibleValuesParser::new(CLASSES.map(ErrorClass::as_str)).map(|name| {
        // The parser above admits these names only.
        CLASSES.into_iter().find(|class| class.as_str() == name).unwrap_or(ErrorClass::Internal)
    })
}

/// Reads a time: RFC 3339, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = text.trim().strip_suffix("ago").unwrap_or(text).trim();
    let digits = ago.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = ago.split_at(digits);
    let millis: Option<i64> = match unit.trim() {
        "s" => Some(1_000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        "w" => Some(604_800_000),
        _ => None,
    };
    let age = number.parse::<i64>().ok().zip(millis).and_then(|(number, millis)| number.checked_mul(millis));
    match age {
        Some(age) => Ok(Timestamp(Clock::system().wall().0.saturating_sub(age))),
        None => Err("a time is written 2026-01-31T08:30:00Z or 2026-01-31, or as 90s, 15m, 2h, 3d or 1w ago"
            .to_owned()),
    }
}
