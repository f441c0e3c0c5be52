use std::collections::BTreeMap;
use std::time::Duration;

use aqueduct_core::{Instant, Random};

use crate::config::Outliers;

/// Finds endpoints that fail more than they should, without clock and lock: the core of the passive health of a
/// balancer, for tests and for pools of your own.
///
/// An endpoint is *ejected* when it has failed too often in a row, or when a sweep finds that it stands out among the
/// others. It comes back by itself: the first time after `base`, then after twice that, and so on up to `max`; each
/// interval that it gets through well takes one off again.
///
/// Never more than `share_max` of the endpoints are out (but one may be), and one is always left.
///
/// Sources: Envoy, "Outlier detection"; gRPC proposal A50. Theirs end an ejection at the next sweep, this one when its
/// time is over.
#[derive(Clone, Debug)]
pub struct Detector {
    config: Option<Outliers>,
    random: Random,
    /// By id, so that a seed gives the same decisions.
    hosts: BTreeMap<u64, Host>,
    swept: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Host {
    until: Option<Instant>,
    /// How often it was ejected, less the intervals that it got through since.
    times: u32,
    /// Whether it has come back since the last sweep, so that this interval is no healthy one.
    back: bool,
    /// What had been counted at the last sweep.
    seen: Tally,
}

/// What came of the calls of one endpoint since it was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too many failures in a row.
    ConsecutiveFailures,
    /// It succeeds less often than the others.
    SuccessRate,
    /// Too large a share of its calls fails.
    FailureShare,
}

/// What a detector has decided about the endpoint with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is out for so long.
    Ejected {
        /// Its id.
        id: u64,
        /// Why.
        cause: Cause,
        /// For how long.
        lasts: Duration,
    },
    /// It is back.
    Returned {
        /// Its id.
        id: u64,
    },
}

impl Detector {
    /// A detector of no endpoints; without a configuration it ejects nobody. The seed is that of the chance in
    /// `enforced`.
    #[must_use]
    pub fn new(config: Option<Outliers>, seed: u64) -> Self {
        Self { config, random: Random::seeded(seed), hosts: BTreeMap::new(), swept: Instant::ZERO }
    }

    /// Watches one more endpoint.
    pub fn add(&mut self, id: u64) {
        self.hosts.insert(id, Host::default());
    }

    /// Forgets an endpoint. Others may come back, since they are a larger share of what is left.
    pub fn remove(&mut self, id: u64) -> Vec<Decision> {
        self.hosts.remove(&id);
        self.trim()
    }

    /// Behaves differently from now on. Those that are out stay out for as long as was said, unless they are now too
    /// many.
    pub fn set_config(&mut self, config: Option<Outliers>) -> Vec<Decision> {
        self.config = config;
        self.trim()
    }

    /// Whether it is out.
    #[must_use]
    pub fn is_ejected(&self, id: u64) -> bool {
        self.hosts.get(&id).is_some_and(|host| host.until.is_some())
    }

    /// How many are out.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.hosts.values().filter(|host| host.until.is_some()).count()
    }

    /// Ejects an endpoint that has failed `consecutive_failures` times in a row, if there is room.
    pub fn eject(&mut self, now: Instant, id: u64) -> Option<Decision> {
        self.config.as_ref()?.consecutive_failures?;
        self.take_out(now, id, Cause::ConsecutiveFailures)
    }

    /// Lets those come back whose time is over, and at the end of an interval compares what was counted in it.
    ///
    /// Complexity: linear in the endpoints, and only when [`next`](Self::next) has come.
    pub fn advance(&mut self, now: Instant, tally: impl Fn(u64) -> Tally) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (id, host) in &mut self.hosts {
            if host.until.is_some_and(|until| until <= now) {
                host.until = None;
                // What it did before does not count against it, and the time that it was out not for it.
                host.seen = tally(*id);
                host.back = true;
                decisions.push(Decision::Returned { id: *id });
            }
        }
        let Some(config) = self.config else { return decisions };
        let passed = now.since(self.swept);
        if passed >= config.interval {
            self.swept = now;
            // Intervals in which nobody looked were healthy ones, as a timer would have found.
            let intervals = passed.as_nanos() / config.interval.as_nanos().max(1);
            decisions.extend(self.sweep(now, &config, u32::try_from(intervals).unwrap_or(u32::MAX), tally));
        }
        decisions
    }

    /// When it wants to be asked again.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let sweep = self.config.as_ref().map(|config| self.swept.after(config.interval));
        self.returns_at().into_iter().chain(sweep).min()
    }

    /// When the first of those that are out comes back.
    #[must_use]
    pub fn returns_at(&self) -> Option<Instant> {
        self.hosts.values().filter_map(|host| host.until).min()
    }

    /// Lets an endpoint come back before its time, because an active check says that it is well.
    pub fn pardon(&mut self, id: u64) -> Option<Decision> {
        let host = self.hosts.get_mut(&id)?;
        host.until.take()?;
        host.back = true;
        Some(Decision::Returned { id })
    }

    fn sweep(
        &mut self,
        now: Instant,
        config: &Outliers,
        intervals: u32,
        tally: impl Fn(u64) -> Tally,
    ) -> Vec<Decision> {
        let mut rates = Vec::new();
        for (id, host) in &mut self.hosts {
            let total = tally(*id);
            let successes = total.successes.saturating_sub(host.seen.successes);
            let calls = successes + total.failures.saturating_sub(host.seen.failures);
            host.seen = total;
            if host.until.is_none() {
                if !std::mem::take(&mut host.back) {
                    host.times = host.times.saturating_sub(intervals);
                }
                rates.push((*id, calls, rate(successes, calls)));
            }
        }
        let mut suspects = Vec::new();
        if let Some(rule) = config.success_rate {
            let judged = enough(&rates, rule.calls_min, rule.endpoints_min);
            let count = rate(judged.len() as u64, 1);
            let mean = judged.iter().map(|(_, rate)| rate).sum::<f64>() / count;
            let variance = judged.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
            let least = mean - variance.sqrt() * rule.deviations;
            let bad = judged.into_iter().filter(|(_, rate)| *rate < least);
            suspects.extend(bad.map(|(id, _)| (id, Cause::SuccessRate, rule.enforced)));
        }
        if let Some(rule) = config.failure_share {
            let judged = enough(&rates, rule.calls_min, rule.endpoints_min);
            let bad = judged.into_iter().filter(|(_, rate)| 1.0 - rate >= rule.threshold);
            suspects.extend(bad.map(|(id, _)| (id, Cause::FailureShare, rule.enforced)));
        }
        let mut decisions = Vec::new();
        for (id, cause, enforced) in suspects {
            if self.random.unit() < enforced {
                decisions.extend(self.take_out(now, id, cause));
            }
        }
        decisions
    }

    fn take_out(&mut self, now: Instant, id: u64, cause: Cause) -> Option<Decision> {
        let config = self.config?;
        let room = self.ejected() < self.ejected_max(&config);
        let host = self.hosts.get_mut(&id)?;
        if !room || host.until.is_some() {
            return None;
        }
        host.times = host.times.saturating_add(1);
        let lasts = config.base.saturating_mul(host.times).min(config.max);
        host.until = Some(now.after(lasts));
        Some(Decision::Ejected { id, cause, lasts })
    }

    /// Lets those come back that are too many, the ones whose time is over first.
    fn trim(&mut self) -> Vec<Decision> {
        let most = self.config.as_ref().map_or(0, |config| self.ejected_max(config));
        let mut out: Vec<_> = self.hosts.iter().filter_map(|(id, host)| Some((host.until?, *id))).collect();
        out.sort_unstable();
        let extra = out.len().saturating_sub(most);
        out.into_iter().take(extra).filter_map(|(_, id)| self.pardon(id)).collect()
    }

    fn ejected_max(&self, config: &Outliers) -> usize {
        let hosts = self.hosts.len();
        if config.share_max == 0.0 {
            return 0;
        }
        // Counted up, since a float may not become an integer unseen; it runs when somebody is to be ejected.
        let most = (1..=hosts).take_while(|out| rate(*out as u64, hosts as u64) <= config.share_max).count();
        most.max(1).min(hosts.saturating_sub(1))
    }
}

/// The endpoints with enough calls and their rates, if those are enough.
fn enough(rates: &[(u64, u64, f64)], calls_min: u32, endpoints_min: u32) -> Vec<(u64, f64)> {
    let judged: Vec<_> = rates
        .iter()
        .filter(|(_, calls, _)| *calls >= u64::from(calls_min))
        .map(|(id, _, rate)| (*id, *rate))
        .collect();
    if judged.len() as u64 >= u64::from(endpoints_min) { judged } else { Vec::new() }
}

fn rate(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
