//! One breaker for each host: one host goes down and comes back, the other never notices.
//!
//! `cargo run -p aqueduct-breaker --example per_host`. The time is virtual, so it ends at once.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_breaker::{Breaker, CallError, Config, ConfigError};
use aqueduct_core::{Clock, Keyed, Timestamp};

/// More hosts than this are never remembered.
const HOSTS: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

/// `b.example` answers nothing between the 10th and the 40th second.
async fn fetch(host: &str, second: u32) -> Result<&'static str, &'static str> {
    if host == "b.example" && (10..40).contains(&second) { Err("connection refused") } else { Ok("200") }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let config = Config::builder()
        .failure_rate(None)
        .consecutive_failures(5)
        .open_for(Duration::from_secs(10), 2.0, Duration::from_secs(60))
        .open_jitter(0.0)
        .half_open(1, Duration::from_secs(60))
        .build()?;
    let made_with = clock.clone();
    let breakers: Keyed<String, Breaker> =
        Keyed::new(HOSTS, Duration::from_hours(1), move |host: &String| {
            let host = host.clone();
            Breaker::new(config.clone(), made_with.clone()).with_observer(move |change| {
                println!(
                    "{:>4?}  {host} is {:?}: {:?}",
                    change.at.elapsed_since_start(),
                    change.to,
                    change.reason
                );
            })
        });

    let (mut answered, mut failed, mut spared) = (0, 0, 0);
    for second in 0..60 {
        for host in ["a.example", "b.example"] {
            let breaker = breakers.get(host, clock.now());
            match breaker.call(async || fetch(host, second).await).await {
                Ok(_) => answered += 1,
                Err(CallError::Failed(_)) => failed += 1,
                Err(CallError::Refused(_)) => spared += 1,
            }
        }
        hand.advance(Duration::from_secs(1));
    }
    println!("{answered} calls answered, {failed} failed, {spared} were not made");
    Ok(())
}
