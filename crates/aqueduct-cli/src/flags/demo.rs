//! What can be typed about demonstrations.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_testkit::backend::{Begins, Dead, Ends, Outage, Quota, RetryAfter};
use clap::{Args, Subcommand, ValueEnum};

use super::{Format, Output};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = DEMO_HELP)]
pub(crate) struct Demo {
    #[command(subcommand)]
    pub(crate) part: Option<DemoPart>,
    /// The folder of the demonstration, made if absent
    #[arg(long, value_name = "DIR", default_value = "aqueduct-demo")]
    pub(crate) folder: PathBuf,
    /// How many items there are; for a new folder
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) items: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

const DEMO_HELP: &str = "\
It needs no network: a service of three hosts is played in this process. A fifth of its calls fails, some are slow, it has a
quota, and one host dies and comes back. Each item is fetched from it, scored, and stored once, in a pipeline file that is
yours to read and change. Kill it at any moment and start it again: it goes on, and finishes.

Examples:
  aqueduct demo                     5,000 items, in the folder aqueduct-demo
  aqueduct run aqueduct-demo/pipeline.toml --verbose
                                    the same with every request
  rm -r aqueduct-demo               to start over

It closes with the ledger, with what each layer of rules did, and with what the service counted.";

#[derive(Debug, Subcommand)]
pub(crate) enum DemoPart {
    /// Starts a backend that misbehaves as told, and counts exactly what is asked of it
    #[command(after_help = BACKEND_HELP)]
    Backend(DemoBackend),
}

const BACKEND_HELP: &str = "\
It answers at http://127.0.0.1:PORT, one port each host. GET / lists what can be asked: items, pages, lists, a sink, \
two kinds of models, big and slow answers, redirects. GET /account gives what was counted so far. The same seed gives \
the n-th call of a host the same fate. A call with an Idempotency-Key is carried out once, and the account says how \
often it came. Nothing is stored, and nothing leaves this machine.

A DURATION is written 250ms, 10s, 5m or 1h. A QUOTA is written 100/s, 60/m, 1000/h or 5/10s.

An OUTAGE is HOST:FROM..UNTIL, the host counted from 0. FROM is a time since the start, or a call as #N; UNTIL is one of \
these, or +DURATION after it began; without UNTIL the host stays dead. Behind a further colon stands what a client sees: \
refused (the default), reset, or 503.

Examples:
  aqueduct demo backend --errors 0.2 --tail 0.01:2s        a fifth fails, one in 100 takes 2 s
  aqueduct demo backend --quota 60/m --retry-after date    429 beyond 60 calls a minute
  aqueduct demo backend --hosts 3 --outage 1:10s..+30s     host 1 dies after 10 s, for 30 s
  aqueduct demo backend --outage '0:#500..#900:503'        503 from the 500th call to the 899th
  aqueduct demo backend --for 1m -o json | jq .total.ok    what was answered well in a minute

Ctrl-C stops it and prints the account (exit 0).";

#[derive(Debug, Args)]
pub(crate) struct DemoBackend {
    /// The port of the first host; the others have those behind it. 0 takes free ones
    #[arg(long, value_name = "N", default_value_t = 8800)]
    pub(crate) port: u16,
    /// How many hosts there are, from 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) hosts: usize,
    /// How long a call takes
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = duration)]
    pub(crate) latency: Duration,
    /// A share of the calls takes this long instead, such as 0.01:2s
    #[arg(long, value_name = "SHARE:DURATION", value_parser = tail)]
    pub(crate) tail: Option<(f64, Duration)>,
    /// The share of the calls that is answered with 500, 502, 503 or 504
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) errors: f64,
    /// The share of the calls that is never answered
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub(crate) hangs: f64,
    /// How many calls all hosts together take; those beyond are answered with 429
    #[arg(long, value_name = "QUOTA", value_parser = quota)]
    pub(crate) quota: Option<Quota>,
    /// How many calls each host takes
    #[arg(long, value_name = "QUOTA", value_parser = quota)]
    pub(crate) quota_per_host: Option<Quota>,
    /// How a 429 says when to come back
    #[arg(long, value_enum, default_value_t = Form::Seconds)]
    pub(crate) retry_after: Form,
    /// A host that dies and comes back, such as 1:10s..20s (may be repeated)
    #[arg(long = "outage", value_name = "OUTAGE", value_parser = outage)]
    pub(crate) outages: Vec<Outage>,
    /// How many records /list has
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) records: u64,
    /// Show the files of this folder as /pages/NAME, 100 MB of them at most
    #[arg(long, value_name = "DIR")]
    pub(crate) pages: Option<PathBuf>,
    /// Carry every call out, whatever its Idempotency-Key
    #[arg(long)]
    pub(crate) ignore_keys: bool,
    /// The seed of all that is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Stop by itself after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) runs_for: Option<Duration>,
    /// How results are printed: for people, as one JSON document, or as JSON lines
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// As a number of seconds
    Seconds,
    /// As a date
    Date,
}

impl From<Form> for RetryAfter {
    fn from(form: Form) -> Self {
        match form {
            Form::Seconds => Self::Seconds,
            Form::Date => Self::Date,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; one is written 250ms, 10s, 5m or 1h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = number.checked_mul(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    });
    millis.map(Duration::from_millis).ok_or_else(wrong)
}

fn tail(text: &str) -> Result<(f64, Duration), String> {
    let (share, delay) = text.split_once(':').ok_or("a tail is written SHARE:DURATION, such as 0.01:2s")?;
    let share = share.parse().map_err(|_| format!("{share:?} is no share; one is a number from 0 to 1"))?;
    Ok((share, duration(delay)?))
}

fn quota(text: &str) -> Result<Quota, String> {
    let (calls, window) = text.split_once('/').ok_or("a quota is written 100/s, 60/m, 1000/h or 5/10s")?;
    let calls = calls.parse().map_err(|_| format!("{calls:?} is no number of calls"))?;
    // A bare unit is one of it.
    let one = format!("1{window}");
    let window =
        duration(if window.starts_with(|letter: char| letter.is_ascii_digit()) { window } else { &one })?;
    Ok(Quota { calls, window })
}

fn outage(text: &str) -> Result<Outage, String> {
    let wrong = || {
        "an outage is written HOST:FROM..UNTIL, such as 1:10s..20s, 1:#500..#900 or 1:10s..+5s:503".to_owned()
    };
    let (host, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (span, seen) = match rest.split_once(':') {
        Some((span, seen)) => (span, Some(seen)),
        None => (rest, None),
    };
    let (from, until) = span.split_once("..").ok_or_else(wrong)?;
    let call = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number of a call"));
    let from = match from.strip_prefix('#') {
        Some(number) => Begins::AtCall(call(number)?),
        None => Begins::At(duration(from)?),
    };
    let until = match (until, from) {
        ("", _) => Ends::Never,
        (until, _) if until.starts_with('#') => Ends::AtCall(call(until.trim_start_matches('#'))?),
        (until, _) if until.starts_with('+') => Ends::After(duration(until.trim_start_matches('+'))?),
        (until, Begins::At(from)) => match duration(until)?.checked_sub(from) {
            Some(time) => Ends::After(time),
            None => return Err(format!("it ends at {until}, before it begins")),
        },
        (_, Begins::AtCall(_)) => {
            return Err(
                "an outage that begins at a call ends at a call, #N, or +DURATION after it".to_owned()
            );
        }
    };
    let dead = match seen {
        None | Some("refused") => Dead::Refuses,
        Some("reset") => Dead::Resets,
        Some("503") => Dead::Unavailable,
        Some(other) => return Err(format!("{other:?} is not seen; refused, reset and 503 are")),
    };
    let host = host.parse().map_err(|_| wrong())?;
    Ok(Outage { host, from, until, dead })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_read_as_it_is_meant() {
        let of = |from, until, dead| Outage { host: 1, from, until, dead };
        for (text, meant) in [
            ("1:10s..25s", of(Begins::At(10 * S), Ends::After(15 * S), Dead::Refuses)),
            ("1:10s..+5s:503", of(Begins::At(10 * S), Ends::After(5 * S), Dead::Unavailable)),
            ("1:0s..", of(Begins::At(Duration::ZERO), Ends::Never, Dead::Refuses)),
            ("1:#5..#9:reset", of(Begins::AtCall(5), Ends::AtCall(9), Dead::Resets)),
            ("1:#5..+2s", of(Begins::AtCall(5), Ends::After(2 * S), Dead::Refuses)),
        ] {
            assert_eq!(outage(text).as_ref(), Ok(&meant), "{text}");
        }
        for wrong in ["1", "1:10s", "x:1s..2s", "1:9s..3s", "1:#5..3s", "1:1s..2s:gone", "1:..2s", "1:1x.."] {
            assert!(outage(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_quota_is_calls_in_a_window() {
        for (text, calls, window) in [
            ("100/s", 100, S),
            ("60/m", 60, 60 * S),
            ("5/10s", 5, 10 * S),
            ("1/250ms", 1, S / 4),
            ("9/h", 9, 3600 * S),
        ] {
            assert_eq!(quota(text), Ok(Quota { calls, window }), "{text}");
        }
        for wrong in ["100", "x/s", "1/", "1/x", "-1/s", "1/1.5s"] {
            assert!(quota(wrong).is_err(), "{wrong}");
        }
    }
}
