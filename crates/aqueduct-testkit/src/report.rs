use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aqueduct_core::failpoint::POINTS;
use serde_json::{Value, json};

use crate::checker::{Fault, Finding};
use crate::point::{Action, Blow, Point, Target};
use crate::workload::Kind;

/// How many broken points are shown: a person needs one, and two or three to see what they share.
const BROKEN_SHOWN: usize = 10;

/// How many findings of each are shown.
const FINDINGS_SHOWN: usize = 5;

/// What a campaign found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The seed of the inputs.
    pub seed: u64,
    /// One line a kind of workload.
    pub kinds: BTreeMap<Kind, KindReport>,
    /// Deliberate bugs, and what caught each.
    pub sabotages: Vec<Sabotaged>,
    /// Points at which a promise was broken.
    pub broken: Vec<Broken>,
}

/// A deliberate bug that was switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sabotaged {
    /// Its name.
    pub name: &'static str,
    /// The point at which it was caught, and by what; none when nothing caught it.
    pub caught: Option<(Point, Finding)>,
}

/// A point at which a promise was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The point.
    pub point: Point,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Where it lies.
    pub folder: PathBuf,
}

/// What a campaign found for one kind of workload.
#[derive(Clone, Debug, Default)]
pub struct KindReport {
    /// How many points were asked for.
    pub wanted: usize,
    /// Points at which a run was killed at a named place.
    pub fail_points: usize,
    /// Points at which a run was killed at a system call.
    pub calls: usize,
    /// Of these points, those at which the resumed run was killed too.
    pub doubles: usize,
    /// Points at which a call or a place in the code failed instead; they come on top and are not counted as
    /// points.
    pub errors: usize,
    /// Things that were not there.
    pub lost: usize,
    /// Things that were there more than once.
    pub doubled: usize,
    /// Things that were there and wrong.
    pub wrong: usize,
    /// How long the resumed runs took.
    pub recoveries: Vec<Duration>,
    /// How often a run was killed at each target, second blows included.
    pub killed_at: BTreeMap<Target, usize>,
    /// Targets at which an error was injected and stopped a run.
    pub failed_at: BTreeSet<Target>,
}

impl KindReport {
    /// How many points were tried: at each of them a run died.
    #[must_use]
    pub fn points(&self) -> usize {
        self.fail_points + self.calls
    }

    pub(crate) fn tried(&mut self, point: &Point, kills: usize) {
        match point.blows.first() {
            Some(Blow { action: Action::Error, .. }) => self.errors += 1,
            Some(Blow { target: Target::Call { .. }, .. }) => self.calls += 1,
            _ => self.fail_points += 1,
        }
        for (number, blow) in point.blows.iter().enumerate() {
            match blow.action {
                Action::Kill if number < kills => {
                    *self.killed_at.entry(blow.target.clone()).or_default() += 1
                }
                Action::Kill => {}
                Action::Error => drop(self.failed_at.insert(blow.target.clone())),
            }
        }
        self.doubles += usize::from(kills > 1);
    }

    fn was_struck_at(&self, fail_point: &'static str) -> bool {
        let target = Target::FailPoint(fail_point);
        self.killed_at.contains_key(&target) || self.failed_at.contains(&target)
    }

    pub(crate) fn found(&mut self, findings: &[Finding]) {
        for finding in findings {
            match finding.fault {
                Fault::Lost => self.lost += 1,
                Fault::Doubled => self.doubled += 1,
                Fault::Wrong => self.wrong += 1,
            }
        }
    }

    /// The time within which this share of the resumed runs was done.
    #[must_use]
    pub fn recovery(&self, share: Share) -> Duration {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let at = match share {
            Share::Half => sorted.len() / 2,
            Share::All => sorted.len().saturating_sub(1),
        };
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// A share of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The median.
    Half,
    /// The slowest one.
    All,
}

impl Report {
    /// How many points were tried over all kinds.
    #[must_use]
    pub fn points(&self) -> usize {
        self.kinds.values().map(KindReport::points).sum()
    }

    /// The fail points that runs of a kind pass, by what the kind says of itself, and at which no run was struck,
    /// although each is tried at its first passing. Over all kinds every fail point is said to be passed.
    #[must_use]
    pub fn never_passed(&self) -> Vec<(Kind, &'static str)> {
        let missing = |kind: Kind, found: &KindReport| {
            let missing = |name: &&'static str| kind.passes(name) && !found.was_struck_at(name);
            POINTS.iter().copied().filter(missing).map(|name| (kind, name)).collect::<Vec<_>>()
        };
        self.kinds.iter().flat_map(|(kind, found)| missing(*kind, found)).collect()
    }

    /// Tells whether every promise held, every sabotage was caught, enough points were tried, and every fail point
    /// was passed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
            && self.sabotages.iter().all(|sabotage| sabotage.caught.is_some())
            && self.kinds.values().all(|found| found.points() >= found.wanted)
            && self.never_passed().is_empty()
    }

    /// The share of points at which a fault may still hide, with 95 % confidence, when none was found.
    fn bound(&self) -> Option<f64> {
        let points = u32::try_from(self.points()).ok().filter(|points| *points > 0)?;
        self.broken.is_empty().then(|| 3.0 / f64::from(points))
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let kinds = self.kinds.iter().map(|(kind, found)| {
            let killed_at = found.killed_at.iter().map(|(at, times)| (at.to_string(), *times));
            let killed_at: BTreeMap<String, usize> = killed_at.collect();
            json!({
                "kind": kind.as_str(),
                "points": found.points(),
                "wanted": found.wanted,
                "fail_points": found.fail_points,
                "system_calls": found.calls,
                "killed_twice": found.doubles,
                "errors_injected": found.errors,
                "lost": found.lost,
                "doubled": found.doubled,
                "wrong": found.wrong,
                "recovery_seconds_p50": found.recovery(Share::Half).as_secs_f64(),
                "recovery_seconds_max": found.recovery(Share::All).as_secs_f64(),
                "killed_at": killed_at,
            })
        });
        let never_passed: Vec<String> =
            self.never_passed().iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
        let sabotages = self.sabotages.iter().map(|sabotage| {
            let point = sabotage.caught.as_ref().map(|(point, _)| point.to_string());
            json!({ "name": sabotage.name, "caught_at": point })
        });
        let broken = self.broken.iter().map(|broken| {
            json!({ "point": broken.point.to_string(), "findings": broken.findings.len(), "folder": broken.folder })
        });
        let sum = |count: fn(&KindReport) -> usize| self.kinds.values().map(count).sum::<usize>();
        json!({
            "seed": self.seed,
            "points": self.points(),
            "never_passed": never_passed,
            "lost": sum(|found| found.lost),
            "doubled": sum(|found| found.doubled),
            "wrong": sum(|found| found.wrong),
            "fault_ratio_below_95": self.bound(),
            "kinds": kinds.collect::<Vec<_>>(),
            "sabotages": sabotages.collect::<Vec<_>>(),
            "broken": broken.collect::<Vec<_>>(),
            "good": self.is_good(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_kinds(f)?;
        for Sabotaged { name, caught } in &self.sabotages {
            match caught {
                Some((point, finding)) => writeln!(f, "sabotage {name}: caught at {point}: {finding}")?,
                None => writeln!(f, "sabotage {name}: NOT CAUGHT")?,
            }
        }
        for Broken { point, findings, folder } in self.broken.iter().take(BROKEN_SHOWN) {
            writeln!(f, "{point} broke {} promises; its folder is {}", findings.len(), folder.display())?;
            for finding in findings.iter().take(FINDINGS_SHOWN) {
                writeln!(f, "    {finding}")?;
            }
            writeln!(f, "    repeat it with --seed {} --only '{point}'", self.seed)?;
        }
        match self.broken.len().saturating_sub(BROKEN_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "and {more} more broken points"),
        }
    }
}

impl Report {
    fn write_kinds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.is_empty() {
            return Ok(());
        }
        writeln!(f, "          killed at                     also")?;
        writeln!(
            f,
            "kind      points  code  calls  twice  errors    lost  doubled  wrong    recovery p50     max"
        )?;
        for (kind, found) in &self.kinds {
            let seconds = |share| found.recovery(share).as_secs_f64();
            writeln!(
                f,
                "{:<8} {:>7} {:>5} {:>6} {:>6} {:>7} {:>7} {:>8} {:>6} {:>13.2} s {:>5.2} s",
                kind.as_str(),
                found.points(),
                found.fail_points,
                found.calls,
                found.doubles,
                found.errors,
                found.lost,
                found.doubled,
                found.wrong,
                seconds(Share::Half),
                seconds(Share::All),
            )?;
            if found.points() < found.wanted {
                writeln!(f, "{kind}: only {} of {} points could be tried", found.points(), found.wanted)?;
            }
        }
        for (kind, name) in self.never_passed() {
            writeln!(f, "{kind}: no run ever passed the fail point {name}")?;
        }
        match self.bound() {
            None => Ok(()),
            Some(bound) => {
                let (points, percent) = (self.points(), 100.0 * bound);
                writeln!(
                    f,
                    "no fault at {points} points: with 95 % confidence fewer than {percent:.2} % of such points have one"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aqueduct_core::failpoint::POINTS;

    use super::{Broken, KindReport, Report, Sabotaged, Share};
    use crate::checker::Finding;
    use crate::point::{Point, Target};
    use crate::workload::Kind;

    fn report(points: usize) -> Report {
        let recoveries = (1..=points as u64).map(Duration::from_millis).collect();
        let passed = POINTS.iter().filter(|name| Kind::Sqlite.passes(name));
        let failed_at = passed.map(|name| Target::FailPoint(name)).collect();
        let found =
            KindReport { wanted: 3, fail_points: points, recoveries, failed_at, ..KindReport::default() };
        Report { kinds: [(Kind::Sqlite, found)].into(), ..Report::default() }
    }

    #[test]
    fn too_few_points_are_not_good() {
        assert!(report(3).is_good());
        assert!(!report(2).is_good());
        assert!(report(2).to_string().contains("only 2 of 3 points could be tried"));
    }

    #[test]
    fn a_broken_point_and_an_uncaught_sabotage_are_not_good() {
        let point: Point = "sqlite/ledger-begin=kill@3".parse().expect("a point");
        let finding = Finding::wrong("results.db", "half a row");
        let mut broken = report(3);
        let findings = vec![finding.clone()];
        broken.broken.push(Broken { point: point.clone(), findings, folder: "/tmp/x".into() });
        assert!(!broken.is_good());
        assert!(broken.to_string().contains("repeat it with --seed 0 --only 'sqlite/ledger-begin=kill@3'"));

        let mut missed = report(3);
        missed.sabotages.push(Sabotaged { name: "item-lost", caught: Some((point, finding)) });
        assert!(missed.is_good());
        missed.sabotages.push(Sabotaged { name: "position-first", caught: None });
        assert!(!missed.is_good());
    }

    #[test]
    fn a_fail_point_that_was_never_passed_is_not_good() {
        let mut missed = report(3);
        let found = missed.kinds.get_mut(&Kind::Sqlite).expect("it is there");
        assert!(found.failed_at.remove(&Target::FailPoint("manifest-after")));
        assert!(!missed.is_good());
        assert!(missed.to_string().contains("sqlite: no run ever passed the fail point manifest-after"));
        let kill: Point = "sqlite/claim-after=kill@1,manifest-after=kill@1".parse().expect("a point");
        let found = missed.kinds.get_mut(&Kind::Sqlite).expect("it is there");
        found.tried(&kill, 1);
        assert!(!missed.is_good());
        missed.kinds.get_mut(&Kind::Sqlite).expect("it is there").tried(&kill, 2);
        assert!(missed.is_good());
    }

    #[test]
    fn the_bound_is_three_over_the_points() {
        assert_eq!(report(300).to_json()["fault_ratio_below_95"], 0.01);
    }

    #[test]
    fn recoveries_are_ranked() {
        let found = &report(5).kinds[&Kind::Sqlite];
        assert_eq!(found.recovery(Share::Half), Duration::from_millis(3));
        assert_eq!(found.recovery(Share::All), Duration::from_millis(5));
    }
}
