use std::fmt;
use std::str::FromStr;

use aqueduct_core::failpoint::{POINTS, SABOTAGES};

use crate::workload::Kind;

/// Where and how often a workload's run is struck. Its text repeats it: `both/claim-after=kill@1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What the workload does.
    pub kind: Kind,
    /// A deliberate bug that is switched on in every run.
    pub sabotage: Option<&'static str>,
    /// The first strikes the first run, the next one the resumed run.
    pub blows: Vec<Blow>,
}

/// One blow to one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// What is being done.
    pub target: Target,
    /// What happens then.
    pub action: Action,
    /// At which time of it, counted from 1 (system calls: by each thread for itself).
    pub at: u64,
}

/// What a run is doing when it is struck.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// It passes a named point of its code.
    FailPoint(&'static str),
    /// It is about to call the system.
    Call {
        /// The system call.
        name: String,
        /// The file, relative to the workload's folder; `.` is the folder itself.
        file: String,
    },
}

/// What a blow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process dies.
    Kill,
    /// The point fails, or the call and all later ones of its kind on that file do (`EIO`).
    Error,
}

/// A text that is not a point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a point; one looks like sqlite/ledger-begin=kill@3 or jsonl/write:results.jsonl=kill@3"
)]
pub struct PointError {
    text: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(sabotage) = self.sabotage {
            write!(f, "+{sabotage}")?;
        }
        for (at, blow) in self.blows.iter().enumerate() {
            write!(f, "{}{blow}", if at == 0 { '/' } else { ',' })?;
        }
        Ok(())
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Kill => "kill",
            Action::Error => "error",
        };
        write!(f, "{}={action}@{}", self.target, self.at)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailPoint(name) => f.write_str(name),
            Self::Call { name, file } => write!(f, "{name}:{file}"),
        }
    }
}

impl FromStr for Point {
    type Err = PointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || PointError { text: text.to_owned() };
        let (place, blows) = match text.split_once('/') {
            Some((place, blows)) => (place, blows.split(',').map(blow).collect::<Option<_>>()),
            None => (text, Some(Vec::new())),
        };
        let (kind, sabotage) = match place.split_once('+') {
            Some((kind, name)) => (kind, Some(known(SABOTAGES, name).ok_or_else(wrong)?)),
            None => (place, None),
        };
        Ok(Self { kind: kind.parse().map_err(|_| wrong())?, sabotage, blows: blows.ok_or_else(wrong)? })
    }
}

fn blow(text: &str) -> Option<Blow> {
    let (target, rest) = text.split_once('=')?;
    let (action, at) = rest.split_once('@')?;
    let target = match target.split_once(':') {
        Some((name, file)) => Target::Call { name: name.to_owned(), file: file.to_owned() },
        None => Target::FailPoint(known(POINTS, target)?),
    };
    let action = match action {
        "kill" => Action::Kill,
        "error" => Action::Error,
        _ => return None,
    };
    let at = at.parse().ok().filter(|at| *at > 0)?;
    Some(Blow { target, action, at })
}

fn known(names: &'static [&'static str], name: &str) -> Option<&'static str> {
    names.iter().copied().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::Point;

    #[test]
    fn a_points_text_repeats_it() {
        for text in [
            "jsonl",
            "sqlite/ledger-begin=kill@3",
            "both/write:alerts/part-00000.jsonl=kill@17,claim-after=kill@1",
            "jsonl+fsync-error-ignored/fdatasync:results.jsonl=error@4",
            "sqlite+item-lost",
        ] {
            let point: Point = text.parse().expect("a point");
            assert_eq!(point.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "xml", "sqlite/", "sqlite/nowhere=kill@1", "sqlite/ledger-begin=kill@0", "sqlite+none"]
        {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }
}
