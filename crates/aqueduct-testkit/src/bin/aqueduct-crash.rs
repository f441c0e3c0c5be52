//! Kills a pipeline at hundreds of places, resumes it each time, and proves that nothing is lost or doubled.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use aqueduct_testkit::{Broken, Campaign, CrashError, Kind, Options, Outcome, Point, Report, sabotage};

/// Points over all kinds unless the caller says otherwise: 75 for each kind; with no fault at 750 points, fewer than one
/// in 250 has one (the rule of three).
const POINTS_DEFAULT: usize = 750;

/// Points for each kind with `--short`: what ci affords.
const POINTS_SHORT: usize = 20;

const USAGE: &str = "usage: aqueduct-crash --binary PATH [--points N] [--kind KIND|all] [--seed S]
                      [--short | --sabotage | --only POINT]

  --binary PATH   aqueduct, built with --features failpoints
  --points N      how many points over all kinds (default 750)
  --kind KIND     what is struck: sqlite, jsonl, both, second, csv, route, dedupe, split, replay,
                  rollback, or all of them (default all)
  --seed S        the seed of the input (default 1)
  --short         20 points a kind, and every sabotage
  --sabotage      every sabotage and nothing else
  --only POINT    one point, as a report prints it
";

/// What the command line asks for.
#[derive(Debug)]
struct Flags {
    binary: PathBuf,
    points: usize,
    kinds: Vec<Kind>,
    seed: u64,
    mode: Mode,
}

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    Points,
    Short,
    Sabotage,
    Only(Box<Point>),
}

fn main() -> ExitCode {
    let flags = match flags(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(message) => {
            say(io::stderr(), &format!("{message}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(&flags) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let mut message = format!("error: {error}");
            let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
            while let Some(inner) = cause {
                message.push_str(&format!(": {inner}"));
                cause = inner.source();
            }
            say(io::stderr(), &message);
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<bool, CrashError> {
    let per_kind = match flags.mode {
        Mode::Short => POINTS_SHORT,
        _ => flags.points.div_ceil(flags.kinds.len()),
    };
    let options = Options {
        binary: flags.binary.clone(),
        seed: flags.seed,
        kinds: flags.kinds.clone(),
        points_per_kind: per_kind,
    };
    let campaign = Campaign::new(options)?;
    let mut report = Report { seed: flags.seed, ..Report::default() };
    match &flags.mode {
        Mode::Only(point) => play(&campaign, point, &mut report)?,
        Mode::Points => campaign.run(&mut report)?,
        Mode::Sabotage => sabotage::run(&campaign, &mut report)?,
        Mode::Short => {
            campaign.run(&mut report)?;
            sabotage::run(&campaign, &mut report)?;
        }
    }
    if !report.broken.is_empty() {
        campaign.keep();
    }
    say(io::stdout(), &format!("{report}{}", report.to_json()));
    Ok(report.is_good())
}

fn play(campaign: &Campaign, point: &Point, report: &mut Report) -> Result<(), CrashError> {
    match campaign.play(point)? {
        Outcome::NotReached => say(io::stdout(), &format!("{point}: the run ended before it")),
        Outcome::Held { recovery, kills } => {
            let seconds = recovery.as_secs_f64();
            say(
                io::stdout(),
                &format!("{point}: everything held; killed {kills} times, resumed in {seconds:.2} s"),
            );
        }
        Outcome::Broken { findings, folder } => {
            report.broken.push(Broken { point: point.clone(), findings, folder });
        }
    }
    Ok(())
}

fn flags(arguments: impl Iterator<Item = String>) -> Result<Flags, String> {
    let mut arguments = arguments;
    let mut binary = None;
    let mut flags = Flags {
        binary: PathBuf::new(),
        points: POINTS_DEFAULT,
        kinds: Kind::ALL.to_vec(),
        seed: 1,
        mode: Mode::Points,
    };
    let mode = |flags: &mut Flags, mode| match std::mem::replace(&mut flags.mode, mode) {
        Mode::Points => Ok(()),
        _ => Err("--short, --sabotage and --only exclude each other".to_owned()),
    };
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("{flag} takes a number, not {text:?}"));
        match flag.as_str() {
            "--binary" => binary = Some(PathBuf::from(value()?)),
            "--points" => flags.points = usize::try_from(number(value()?)?).unwrap_or(usize::MAX),
            "--seed" => flags.seed = number(value()?)?,
            "--kind" => match value()?.as_str() {
                "all" => flags.kinds = Kind::ALL.to_vec(),
                kind => flags.kinds = vec![kind.parse().map_err(|error| format!("{error}, all"))?],
            },
            "--short" => mode(&mut flags, Mode::Short)?,
            "--sabotage" => mode(&mut flags, Mode::Sabotage)?,
            "--only" => {
                let point = value()?.parse().map_err(|error| format!("{error}"))?;
                mode(&mut flags, Mode::Only(Box::new(point)))?;
            }
            _ => return Err(format!("there is no flag {flag}")),
        }
    }
    flags.binary = binary.ok_or("--binary is missing")?;
    Ok(flags)
}

/// Writes a line; a reader who has left does not matter.
fn say(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

#[cfg(test)]
mod tests {
    use super::{Mode, flags};

    fn read(line: &str) -> Result<super::Flags, String> {
        flags(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_are_read() {
        let flags = read("--binary b --points 9 --kind jsonl --seed 4 --short").expect("good flags");
        assert_eq!((flags.points, flags.kinds.len(), flags.seed), (9, 1, 4));
        assert_eq!(flags.mode, Mode::Short);
        let flags = read("--binary b --only sqlite/ledger-begin=kill@3").expect("good flags");
        assert!(matches!(flags.mode, Mode::Only(_)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "--binary",
            "--binary b --kind xml",
            "--binary b --points x",
            "--binary b --short --sabotage",
            "--binary b --what",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
