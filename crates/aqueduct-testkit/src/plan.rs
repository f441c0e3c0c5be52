//! Which points are tried, and in which order.

use std::collections::BTreeMap;

use aqueduct_core::failpoint::POINTS;

use crate::point::{Action, Blow, Point, Target};
use crate::workload::Kind;

/// Every how manieth point strikes the resumed run too.
const DOUBLE_EVERY: u64 = 4;

/// Hands out points for one kind of workload: fail points and system calls by turns, each of their targets by
/// turns, and within a target spread over its passings. Writes to a file that no other kind has come first, so
/// that a short campaign has them. No point is handed out twice.
#[derive(Clone, Debug)]
pub(crate) struct Planner {
    kind: Kind,
    fail_points: Turns,
    calls: Turns,
    /// What strikes resumed runs; these come early, since a resumed run may have little left to do.
    seconds: Vec<Blow>,
    given: u64,
}

impl Planner {
    pub(crate) fn new(kind: Kind, calls: BTreeMap<Target, u64>) -> Self {
        let fail_points = POINTS.iter().map(|name| (Target::FailPoint(name), kind.commits()));
        let fail_points: Vec<(Target, u64)> = fail_points.collect();
        let kill = |target: &Target| Blow { target: target.clone(), action: Action::Kill, at: 1 };
        let mut seconds: Vec<Blow> = fail_points.iter().map(|(target, _)| kill(target)).collect();
        seconds.extend(calls.keys().map(kill));
        let mut calls: Vec<(Target, u64)> = calls.into_iter().collect();
        calls.sort_by_key(|(target, _)| match target {
            Target::Call { name, file } if kind.alone_has(file) => u8::from(!name.contains("write")),
            _ => 2,
        });
        Self { kind, fail_points: Turns::new(fail_points), calls: Turns::new(calls), seconds, given: 0 }
    }

    /// Gives the next point, or none when all were given.
    pub(crate) fn next(&mut self) -> Option<Point> {
        let (first, other) = match self.given % 2 {
            0 => (&mut self.fail_points, &mut self.calls),
            _ => (&mut self.calls, &mut self.fail_points),
        };
        let (target, at) = first.next().or_else(|| other.next())?;
        self.given += 1;
        let mut blows = vec![Blow { target, action: Action::Kill, at }];
        if self.given.is_multiple_of(DOUBLE_EVERY) {
            let turn = usize::try_from(self.given / DOUBLE_EVERY).unwrap_or(0);
            blows.push(self.seconds[turn % self.seconds.len()].clone());
        }
        Some(Point { kind: self.kind, sabotage: None, blows })
    }

    /// Learns that a run ended before this point: it passes the target less often.
    pub(crate) fn not_reached(&mut self, point: &Point) {
        if let Some(blow) = point.blows.first() {
            let turns = match blow.target {
                Target::FailPoint(_) => &mut self.fail_points,
                Target::Call { .. } => &mut self.calls,
            };
            turns.limit(&blow.target, blow.at - 1);
        }
    }
}

/// Points at which something fails instead: every call for the first time and in the middle of the run, and
/// every place in the code that can fail, the first time it is passed.
pub(crate) fn errors(kind: Kind, calls: &BTreeMap<Target, u64>) -> Vec<Point> {
    let error = |target: &Target, at| Point {
        kind,
        sabotage: None,
        blows: vec![Blow { target: target.clone(), action: Action::Error, at }],
    };
    let mut points: Vec<Point> = POINTS.iter().map(|name| error(&Target::FailPoint(name), 1)).collect();
    for (target, count) in calls {
        points.push(error(target, 1));
        if *count > 1 {
            points.push(error(target, count / 2 + 1));
        }
    }
    points
}

/// Targets that take turns.
#[derive(Clone, Debug)]
struct Turns {
    targets: Vec<Passings>,
    turn: usize,
}

impl Turns {
    fn new(counts: impl IntoIterator<Item = (Target, u64)>) -> Self {
        let passings = |(target, count)| Passings { target, count, bits: bits_for(count), step: 0 };
        Self { targets: counts.into_iter().map(passings).collect(), turn: 0 }
    }

    fn next(&mut self) -> Option<(Target, u64)> {
        for _ in 0..self.targets.len() {
            let at = self.turn % self.targets.len();
            self.turn += 1;
            if let Some(passing) = self.targets[at].next() {
                return Some((self.targets[at].target.clone(), passing));
            }
        }
        None
    }

    fn limit(&mut self, target: &Target, count: u64) {
        if let Some(known) = self.targets.iter_mut().find(|known| known.target == *target) {
            known.count = known.count.min(count);
        }
    }
}

/// The passings of one target: the first, then halves, quarters and so on, so that however many are tried,
/// they are spread over all (van der Corput 1935, base 2, on the next power of two).
///
/// Ours differs in the last bit. Where two databases commit in each epoch, passings of the one are odd and those of
/// the other even, and a plain halving would keep to the odd ones until half of all are tried. So the last bit is
/// turned over where the bits before it have an odd sum, which still gives every number once.
#[derive(Clone, Debug)]
struct Passings {
    target: Target,
    count: u64,
    /// The width of the numbers. It stays when the count shrinks.
    bits: u32,
    step: u64,
}

/// How many bits the numbers below `count` need, and one at least.
fn bits_for(count: u64) -> u32 {
    count.max(2).next_power_of_two().ilog2()
}

impl Passings {
    fn next(&mut self) -> Option<u64> {
        while self.step < 1 << self.bits {
            let halved = self.step.reverse_bits() >> (u64::BITS - self.bits);
            let at = halved ^ u64::from((halved >> 1).count_ones() % 2);
            self.step += 1;
            if at < self.count {
                return Some(at + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::Planner;
    use crate::point::Target;
    use crate::workload::Kind;

    fn planner() -> Planner {
        let call = |name: &str, count| {
            (Target::Call { name: name.to_owned(), file: "results.db".to_owned() }, count)
        };
        Planner::new(Kind::Sqlite, BTreeMap::from([call("fsync", 3), call("pwrite64", 250)]))
    }

    #[test]
    fn no_point_comes_twice_and_none_is_left_out() {
        let mut planner = planner();
        let mut firsts = BTreeSet::new();
        while let Some(point) = planner.next() {
            assert!(firsts.insert(point.blows[0].to_string()), "{point}");
        }
        let fail_points = aqueduct_core::failpoint::POINTS.len() as u64 * Kind::Sqlite.commits();
        assert_eq!(firsts.len() as u64, fail_points + 3 + 250);
    }

    #[test]
    fn passings_of_both_databases_are_tried_from_the_start() {
        let planner = Planner::new(Kind::Second, BTreeMap::new());
        let mut commits = planner.fail_points.targets[0].clone();
        let first: Vec<u64> = (0..8).filter_map(|_| commits.next()).collect();
        assert_eq!(first.iter().filter(|at| at.is_multiple_of(2)).count(), 4, "{first:?}");
        assert!(first.iter().any(|at| *at > Kind::Second.commits() / 2), "{first:?}");
    }

    #[test]
    fn a_short_campaign_kills_at_writes_to_the_second_database() {
        let call =
            |name: &str, file: &str| (Target::Call { name: name.to_owned(), file: file.to_owned() }, 9);
        let files =
            ["results.db", "results.db-wal", "second.db", "second.db-wal", "second.db-shm", "data/lock"];
        let names = ["fsync", "ftruncate", "openat", "pwrite64", "unlink"];
        let calls = names.iter().flat_map(|name| files.iter().map(|file| call(name, file))).collect();
        let mut planner = Planner::new(Kind::Second, calls);
        let points: Vec<_> = (0..20).filter_map(|_| planner.next()).collect();
        for target in
            ["second-store-after", "pwrite64:second.db", "pwrite64:second.db-wal", "fsync:second.db-wal"]
        {
            assert!(points.iter().any(|point| point.blows[0].target.to_string() == target), "{target}");
        }
    }

    #[test]
    fn every_target_has_its_turn_before_one_has_its_second() {
        let mut planner = planner();
        let targets = aqueduct_core::failpoint::POINTS.len();
        let points: Vec<_> = (0..2 * targets).filter_map(|_| planner.next()).collect();
        let named: BTreeSet<String> = points
            .iter()
            .filter(|point| matches!(point.blows[0].target, Target::FailPoint(_)))
            .map(|point| point.blows[0].target.to_string())
            .collect();
        assert_eq!(named.len(), targets);
    }

    #[test]
    fn what_is_never_passed_is_tried_once() {
        let mut planner = planner();
        let first = planner.next().expect("there are points");
        let target = first.blows[0].target.clone();
        planner.not_reached(&first);
        while let Some(point) = planner.next() {
            assert_ne!(point.blows[0].target, target);
        }
    }
}
