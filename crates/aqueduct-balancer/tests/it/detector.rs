use std::collections::BTreeMap;

use aqueduct_balancer::{Cause, Decision, Detector, FailureShare, Outliers, SuccessRate, Tally};
use aqueduct_core::Instant;

use crate::SECOND;

/// A detector of so many endpoints, and what was counted of each.
struct Pool {
    detector: Detector,
    tallies: BTreeMap<u64, Tally>,
    now: Instant,
}

impl Pool {
    fn new(endpoints: u64, outliers: Outliers) -> Self {
        outliers.check().expect("it is within the ranges");
        let mut detector = Detector::new(Some(outliers), 1);
        (0..endpoints).for_each(|id| detector.add(id));
        Self { detector, tallies: BTreeMap::new(), now: Instant::ZERO }
    }

    fn count(&mut self, id: u64, successes: u64, failures: u64) {
        let tally = self.tallies.entry(id).or_default();
        tally.successes += successes;
        tally.failures += failures;
    }

    /// An interval later: who was ejected, and who has come back.
    fn sweep(&mut self) -> (Vec<u64>, Vec<u64>) {
        self.now = self.now.after(SECOND * 10);
        let (mut ejected, mut returned) = (Vec::new(), Vec::new());
        for decision in
            self.detector.advance(self.now, |id| self.tallies.get(&id).copied().unwrap_or_default())
        {
            match decision {
                Decision::Ejected { id, .. } => ejected.push(id),
                Decision::Returned { id } => returned.push(id),
            }
        }
        (ejected, returned)
    }
}

fn by_rate(share_max: f64, enforced: f64) -> Outliers {
    let rate = SuccessRate { endpoints_min: 3, calls_min: 3, deviations: 0.5, enforced };
    Outliers { success_rate: Some(rate), share_max, ..Outliers::default() }
}

fn by_share(share_max: f64, enforced: f64) -> Outliers {
    let share = FailureShare { threshold: 0.5, endpoints_min: 3, calls_min: 3, enforced };
    Outliers { success_rate: None, failure_share: Some(share), share_max, ..Outliers::default() }
}

/// grpc/grpc-go: internal/xds/balancer/outlierdetection/balancer_test.go, Apache-2.0: TestEjectUnejectSuccessRate (four
/// cases) and TestEjectFailureRate. Three endpoints with five successes each: nobody goes. Then one has five failures.
/// Much later, everybody is back. The cases hold for both rules.
#[test]
fn rates_eject_and_return_as_in_grpc() {
    for rule in [by_rate, by_share] {
        for (share_max, enforced, failing, expected) in
            [(0.1, 1.0, 1, vec![2]), (0.1, 1.0, 0, vec![]), (0.1, 0.0, 1, vec![]), (0.0, 1.0, 1, vec![])]
        {
            let mut pool = Pool::new(3, rule(share_max, enforced));
            (0..3).for_each(|id| pool.count(id, 5, 0));
            assert_eq!(pool.sweep(), (vec![], vec![]));
            for id in 0..3 {
                if id >= 3 - failing { pool.count(id, 0, 5) } else { pool.count(id, 5, 0) }
            }
            assert_eq!(pool.sweep().0, expected, "{share_max} {enforced} {failing}");
            pool.now = pool.now.after(SECOND * 1_000);
            assert_eq!(pool.sweep(), (vec![], expected));
            assert_eq!(pool.detector.ejected(), 0);
        }
    }
}

#[test]
fn a_rate_needs_enough_endpoints_and_enough_calls() {
    for rule in [by_rate, by_share] {
        let mut few = Pool::new(2, rule(0.5, 1.0));
        few.count(0, 100, 0);
        few.count(1, 0, 100);
        assert!(few.sweep().0.is_empty());
        let mut quiet = Pool::new(3, rule(0.5, 1.0));
        quiet.count(0, 100, 0);
        quiet.count(1, 100, 0);
        quiet.count(2, 0, 2);
        assert!(quiet.sweep().0.is_empty());
    }
}

/// Of ten endpoints nine succeed always and one with the rate `x`: the mean is `0.9 + x / 10`, the deviation `0.3 (1 - x)`,
/// and the one is three deviations below the mean, whatever `x` is.
#[test]
fn the_threshold_is_the_mean_less_the_deviations() {
    let rule = |deviations| Outliers {
        success_rate: Some(SuccessRate { deviations, ..SuccessRate::default() }),
        ..Outliers::default()
    };
    for (deviations, expected) in [(1.9, vec![9]), (2.99, vec![9]), (3.01, vec![])] {
        let mut pool = Pool::new(10, rule(deviations));
        (0..9).for_each(|id| pool.count(id, 100, 0));
        pool.count(9, 60, 40);
        assert_eq!(pool.sweep().0, expected);
    }
    // All fail alike: nobody stands out.
    let mut alike = Pool::new(10, rule(1.9));
    (0..10).for_each(|id| alike.count(id, 20, 80));
    assert!(alike.sweep().0.is_empty());
}

#[test]
fn only_the_last_interval_counts() {
    let mut pool = Pool::new(3, by_share(0.5, 1.0));
    pool.count(0, 0, 2);
    assert!(pool.sweep().0.is_empty());
    pool.count(0, 0, 2);
    (1..3).for_each(|id| pool.count(id, 5, 0));
    assert!(pool.sweep().0.is_empty());
}

#[test]
fn an_ejection_lasts_longer_each_time_and_shorter_after_healthy_intervals() {
    let outliers = Outliers { base: SECOND * 30, max: SECOND * 75, ..Outliers::default() };
    let mut pool = Pool::new(4, outliers);
    let last = |pool: &mut Pool, healthy: u32| {
        for _ in 0..healthy {
            pool.sweep();
        }
        let Some(Decision::Ejected { lasts, cause, .. }) = pool.detector.eject(pool.now, 1) else {
            panic!("there is room");
        };
        assert_eq!(cause, Cause::ConsecutiveFailures);
        assert_eq!(pool.detector.eject(pool.now, 1), None, "it is out");
        while pool.detector.is_ejected(1) {
            pool.sweep();
        }
        lasts.as_secs()
    };
    assert_eq!([0, 0, 0].map(|healthy| last(&mut pool, healthy)), [30, 60, 75]);
    // Three times less two intervals and once more is twice; after many it starts again.
    assert_eq!([2, 50].map(|healthy| last(&mut pool, healthy)), [60, 30]);
}

#[test]
fn there_is_always_one_left_and_never_more_than_the_share() {
    for endpoints in 1..=12_u64 {
        for share_max in [0.0, 0.1, 0.34, 0.5, 0.9, 1.0] {
            let mut pool = Pool::new(endpoints, Outliers { share_max, ..Outliers::default() });
            for id in 0..endpoints {
                let _ = pool.detector.eject(pool.now, id);
            }
            let out = pool.detector.ejected() as u64;
            let share =
                (0..=endpoints).filter(|out| *out as f64 <= share_max * endpoints as f64 + 1e-9).max();
            let most = share.expect("nobody is a share").max(u64::from(share_max > 0.0)).min(endpoints - 1);
            assert_eq!(out, most, "{share_max} of {endpoints}");
        }
    }
}

#[test]
fn those_that_become_too_many_come_back() {
    let mut pool = Pool::new(8, Outliers::default());
    for id in 0..4 {
        pool.now = pool.now.after(SECOND);
        assert!(pool.detector.eject(pool.now, id).is_some());
    }
    assert_eq!(pool.detector.remove(7), [Decision::Returned { id: 0 }], "3 of 7 is under a half");
    assert_eq!(pool.detector.remove(2), []);
    let none = pool.detector.set_config(None);
    assert_eq!(none, [Decision::Returned { id: 1 }, Decision::Returned { id: 3 }]);
    assert_eq!((pool.detector.eject(pool.now, 1), pool.detector.next()), (None, None));
}
