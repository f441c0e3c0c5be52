use std::num::NonZeroUsize;
use std::time::Duration;

use aqueduct_breaker::{Breaker, Config, State};
use aqueduct_core::{Clock, Keyed, ManualClock, Timestamp, Verdict};

/// What E3 of the requirements asks for: five failures in a row open the circuit of one domain for 300 s.
fn per_domain(capacity: usize) -> (Keyed<String, Breaker>, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let open = Duration::from_secs(300);
    let config = Config::builder()
        .failure_rate(None)
        .consecutive_failures(5)
        .open_for(open, 1.0, open)
        .open_jitter(0.0)
        .half_open(1, open)
        .build()
        .expect("a test's own");
    let capacity = NonZeroUsize::new(capacity).expect("a test asks for one at least");
    let of_breakers = clock.clone();
    let make = move |_: &String| Breaker::new(config.clone(), of_breakers.clone());
    (Keyed::new(capacity, Duration::from_hours(1), make), clock, hand)
}

fn fail(breaker: &Breaker, times: u32) {
    for _ in 0..times {
        breaker.try_acquire().expect("it is closed").finish(Verdict::FAILURE);
    }
}

#[test]
fn five_failures_in_a_row_open_one_domain_for_300_seconds_and_no_other() {
    let (breakers, clock, hand) = per_domain(10);
    let at = |domain: &str| breakers.get(domain, clock.now());
    fail(&at("down.example"), 4);
    at("down.example").try_acquire().expect("four are too few").finish(Verdict::Success);
    fail(&at("down.example"), 5);
    let refused = at("down.example").try_acquire().map(drop).expect_err("five failed");
    assert_eq!(refused.retry_after, Some(Duration::from_secs(300)));
    at("up.example").try_acquire().expect("it is another domain").finish(Verdict::Success);

    hand.advance(Duration::from_secs(299));
    assert!(at("down.example").try_acquire().is_err());
    hand.advance(Duration::from_secs(1));
    // It recovers by itself.
    at("down.example").try_acquire().expect("its time is over").finish(Verdict::Success);
    assert_eq!(at("down.example").state(), State::Closed);
}

#[test]
fn an_open_circuit_is_not_forgotten_for_a_flood_of_other_keys() {
    let (breakers, clock, _hand) = per_domain(100);
    fail(&breakers.get("down.example", clock.now()), 5);
    for number in 0..10_000 {
        breakers.get(&format!("host-{number}.example"), clock.now());
        assert!(breakers.len() <= 100);
    }
    assert_eq!(breakers.get("down.example", clock.now()).state(), State::Open);
    assert_eq!(breakers.displaced(), 0);
}

#[test]
fn an_open_circuit_that_nobody_asks_for_is_forgotten_in_the_end() {
    let (breakers, clock, hand) = per_domain(100);
    fail(&breakers.get("gone.example", clock.now()), 5);
    hand.advance(Duration::from_hours(1));
    breakers.get("new.example", clock.now());
    assert!(breakers.find("gone.example").is_none());
}
