//! Balancers on a manual clock, their pure cores against tables of others, and both against naive models.

#![cfg(test)]

mod changes;
mod config;
mod detector;
mod hashing;
#[cfg(feature = "health")]
mod health;
mod latency;
mod leases;
mod metrics;
mod passive;
mod priorities;
mod properties;
#[cfg(feature = "tower")]
mod service;
mod shares;

use std::collections::BTreeMap;
use std::time::Duration;

use aqueduct_balancer::{Algorithm, Balancer, Builder, Config, Endpoint};
use aqueduct_core::{Clock, ManualClock, Timestamp, Verdict};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Every algorithm, for what holds whichever is chosen.
const ALGORITHMS: [Algorithm; 11] = [
    Algorithm::RoundRobin,
    Algorithm::WeightedRoundRobin,
    Algorithm::Random,
    Algorithm::LeastConnections { choices: 2 },
    Algorithm::LeastConnections { choices: 8 },
    Algorithm::LeastResponseTime,
    Algorithm::PowerOfTwo,
    Algorithm::Adaptive { hot_quantile: 0.84 },
    Algorithm::Ketama,
    Algorithm::Maglev { table: 2_039 },
    Algorithm::BoundedLoad { factor: 1.25 },
];

/// Endpoints of these weights, named `a`, `b` and so on, their index as value.
fn balancer(weights: &[u32], config: Builder) -> (Balancer<usize>, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let endpoints = weights.iter().enumerate().map(|(index, weight)| endpoint(index).with_weight(*weight));
    let config = config.build().expect("it is within the ranges");
    (Balancer::new(endpoints, config, clock).expect("they are endpoints"), hand)
}

fn endpoint(index: usize) -> Endpoint<usize> {
    Endpoint::new(name(index), index)
}

fn name(index: usize) -> String {
    let letter = b'a' + u8::try_from(index % 26).expect("it is below 26");
    let round = if index < 26 { String::new() } else { (index / 26).to_string() };
    format!("{}{round}", char::from(letter))
}

fn with(algorithm: Algorithm) -> Builder {
    Config::builder().algorithm(algorithm)
}

/// Picks and succeeds at once.
fn pick(balancer: &Balancer<usize>) -> usize {
    let lease = balancer.pick().expect("there is an endpoint");
    let index = *lease.value();
    lease.finish(Verdict::Success);
    index
}

/// The share of each of so many calls one after the other.
fn shares(balancer: &Balancer<usize>, calls: u32) -> BTreeMap<usize, f64> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts.entry(pick(balancer)).or_insert(0_u32) += 1;
    }
    counts.into_iter().map(|(index, count)| (index, f64::from(count) / f64::from(calls))).collect()
}
