//! A bad minute of a backend with three endpoints: one dies and comes back, another asks for patience, and a quota is kept
//! all the while. 600 calls are made, one tenth of a second after the other, and none of them fails.
//!
//! `cargo run -p aqueduct-policy --example policy`. The time is virtual, so it ends at once.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Timestamp};
use aqueduct_policy::{Call, Endpoint, Event, Policy, PolicyError, Scope};
use aqueduct_ratelimit::Quota;
use aqueduct_retry::{Growth, Schedule};
use tower_service::Service;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A server that is down from the 10th to the 25th second, or asks for a second of patience in the 40th.
#[derive(Clone)]
struct Server {
    name: &'static str,
    clock: Clock,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("connection refused")]
    Down,
    #[error("too many requests")]
    Busy,
}

impl Classified for Trouble {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Down => ErrorClass::Transient,
            Self::Busy => ErrorClass::Overload,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Busy).then_some(SECOND)
    }
}

impl Service<u32> for Server {
    type Response = u32;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Trouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, page: u32) -> Self::Future {
        let Self { name, clock } = self.clone();
        Box::pin(async move {
            clock.sleep(MS * 20).await;
            match (name, clock.now().elapsed_since_start().as_secs()) {
                ("lima", 10..25) => Err(Trouble::Down),
                ("oslo", 40) => Err(Trouble::Busy),
                _ => Ok(page),
            }
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let schedule = Schedule::builder(Growth::Exponential { first: MS * 50, factor: 2.0 }).build()?;
    let now = clock.clone();
    let policy = Policy::builder()
        .deadline(SECOND * 10)
        .retry(aqueduct_retry::Config { schedule, ..aqueduct_retry::Config::default() })
        .breaker(aqueduct_breaker::Config::default())
        .rate_limit(Quota::per_second(20)?, Scope::PerKey)
        .endpoint_breaker(aqueduct_breaker::Config::builder().consecutive_failures(3).build()?)
        .attempt_timeout(SECOND)
        .observer(move |event| {
            let at = now.now().elapsed_since_start().as_secs();
            match event {
                Event::Circuit { key, transition } => {
                    println!("{at:>3} s  circuit of {key}: {:?}", transition.to)
                }
                Event::Paused { key, wait } => println!("{at:>3} s  {key} is left alone for {wait:?}"),
                Event::Endpoint(event) => println!("{at:>3} s  {event:?}"),
            }
        })
        .clock(clock.clone())
        .build()?;
    let servers =
        ["oslo", "lima", "kyoto"].map(|name| Endpoint::new(name, Server { name, clock: clock.clone() }));
    let backend = policy.over(servers)?;

    let mut refused = 0;
    for page in 0..600 {
        match run(&hand, backend.call(Call::new(page).key("example.org"))) {
            Ok(_) => {}
            Err(PolicyError::Refused(_)) => refused += 1,
            Err(error) => return Err(error.into()),
        }
        hand.advance(MS * 80);
    }

    let figures = backend.snapshot();
    println!(
        "{} calls, {} answered, {} failed, {refused} refused",
        figures.calls, figures.succeeded, figures.failed
    );
    println!("{} attempts, {} of them retries", figures.attempts, figures.retries);
    for endpoint in figures.endpoints {
        println!("{:>6}: {} calls, {} failed", endpoint.name, endpoint.requests, endpoint.failures);
    }
    Ok(())
}

/// Runs a future to its end, and moves the clock on whenever there is nothing else to do.
fn run<T>(hand: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        // Whoever waits here waits for the clock.
        hand.advance_to_next();
    }
}
