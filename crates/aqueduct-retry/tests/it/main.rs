//! What the crate promises, through its public surface.

mod config;
mod delays;
mod limits;
mod surface;

use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_retry::{Attempt, Limit, Next, Schedule};

/// Calls that fail at once, over and over: every wait, and the limit that ended them.
fn waits(schedule: &Schedule, seed: u64) -> (Vec<Duration>, Limit) {
    let mut random = Random::seeded(seed);
    let mut attempt = Attempt::default();
    let mut waits = Vec::new();
    loop {
        match schedule.next(&attempt, &mut random) {
            Next::Stop(limit) => return (waits, limit),
            Next::Wait(delay) => {
                waits.push(delay);
                attempt.number += 1;
                attempt.elapsed += delay;
                attempt.previous_delay = delay;
            }
        }
    }
}

fn seconds(numbers: &[u64]) -> Vec<Duration> {
    numbers.iter().map(|number| Duration::from_secs(*number)).collect()
}
