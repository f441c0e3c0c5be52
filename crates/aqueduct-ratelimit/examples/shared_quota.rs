//! Three tenants share a service that allows 6 calls a minute and 1,000 tokens: each has a bucket of its own, all keep to
//! what the service allows, and a "too many requests" makes everybody wait as long as it says. Time is a hand that is moved.
//!
//! `cargo run -p aqueduct-ratelimit --example shared_quota`. The time is virtual, so it ends at once.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_ratelimit::{Config, ConfigError, KeyedRateLimiter, Limits, Quota};

fn main() -> Result<(), ConfigError> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let hundred = NonZeroUsize::MIN.saturating_add(99);
    let tenants: KeyedRateLimiter<&str> =
        KeyedRateLimiter::new(Quota::per_minute(4)?.with_burst(2)?, hundred, clock.clone());
    let service = Limits::new(
        [
            ("calls", Config::new(Quota::per_minute(6)?.with_burst(3)?)),
            ("tokens", Config::new(Quota::per_minute(1_000)?)),
        ],
        clock,
    )?;

    for (tenant, tokens) in
        [("ann", 300), ("ann", 300), ("ann", 100), ("bob", 600), ("bob", 200), ("cas", 100)]
    {
        let answer = match tenants.check(&tenant) {
            Err(denied) => format!("{denied}"),
            Ok(_) => match service.check([1, tokens]) {
                Ok(()) => "calls".to_owned(),
                Err(denied) => {
                    // What was not used is the tenant's again.
                    tenants.refund(&tenant, 1);
                    format!("{denied}")
                }
            },
        };
        println!("{tenant} wants {tokens:>3} tokens: {answer}");
    }

    println!("the service answers 429, retry after 30 s");
    service.drain(Duration::from_secs(30));
    for seconds in [29, 7] {
        hand.advance(Duration::from_secs(seconds));
        let answer =
            service.check([1, 100]).map_or_else(|denied| denied.to_string(), |()| "calls".to_owned());
        println!("{seconds} s later: {answer}");
    }
    Ok(())
}
