//! What the crate promises, through its public surface.

mod budget;
mod config;
mod deadline;
mod delays;
mod hedge;
mod limits;
mod metrics;
mod retry;
mod service;
mod storm;
mod surface;
mod throttle;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass, Instant, ManualClock, Random};
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

fn at(seconds: f64) -> Instant {
    Instant::ZERO.after(Duration::from_secs_f64(seconds))
}

/// Runs a future to its end, and moves the clock on whenever there is nothing else to do.
fn run<T>(hand: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        hand.advance_to_next().expect("somebody waits for the clock");
    }
}

/// An error that is nothing but its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken")]
struct Broken(ErrorClass);

const BUSY: Broken = Broken(ErrorClass::Overload);
const PASSING: Broken = Broken(ErrorClass::Transient);

impl Classified for Broken {
    fn class(&self) -> ErrorClass {
        self.0
    }
}
