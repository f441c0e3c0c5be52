//! Four endpoints on a bad day: one breaks, one is busy, one is drained, and they come back.
//!
//! `cargo run -p aqueduct-balancer --example bad_day`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use aqueduct_balancer::{Balancer, Config, Endpoint, Event};
use aqueduct_core::{Clock, ManualClock, Timestamp, Verdict};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let endpoints = ["oslo", "lima", "cairo", "kyoto"].map(|name| Endpoint::new(name, ()));
    let balancer = Balancer::new(endpoints, Config::default(), clock)?.with_observer(|event| match event {
        Event::Ejected { endpoint, lasts, .. } => println!("  {endpoint} is ejected for {lasts:?}"),
        Event::Returned { endpoint } => println!("  {endpoint} is back"),
        Event::Resting { endpoint, lasts } => println!("  {endpoint} rests for {lasts:?}"),
        Event::Draining { endpoint } => println!("  {endpoint} is drained"),
        _ => {}
    });

    println!("a quiet minute");
    calls(&balancer, &hand, |_| Verdict::Success)?;

    println!("oslo breaks, lima answers 429");
    // Leases that were out already fail too, so the failures come in a row.
    let leases: Vec<_> = (0..24).map(|_| balancer.pick()).collect::<Result<_, _>>()?;
    for lease in leases {
        let verdict = if lease.name() == "oslo" { Verdict::FAILURE } else { Verdict::Success };
        lease.finish(verdict);
    }
    calls(&balancer, &hand, |name| match name {
        "oslo" => Verdict::FAILURE,
        "lima" => Verdict::Failure { retry_after: Some(SECOND * 20) },
        _ => Verdict::Success,
    })?;

    println!("cairo is drained for an update");
    balancer.drain("cairo")?;
    calls(&balancer, &hand, |_| Verdict::Success)?;
    balancer.remove("cairo")?;
    balancer.add(Endpoint::new("cairo", ()))?;

    println!("half a minute later");
    hand.advance(SECOND * 30);
    calls(&balancer, &hand, |_| Verdict::Success)?;
    Ok(())
}

/// A thousand calls of 2 ms, and what each endpoint had of them.
fn calls(
    balancer: &Balancer<()>,
    hand: &ManualClock,
    verdict: impl Fn(&str) -> Verdict,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..1_000 {
        let lease = balancer.pick()?;
        *counts.entry(lease.name().to_owned()).or_insert(0_u32) += 1;
        hand.advance(MILLISECOND * 2);
        let verdict = verdict(lease.name());
        lease.finish(verdict);
    }
    println!("  {counts:?}");
    Ok(())
}
