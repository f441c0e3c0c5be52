//! A service goes down for ten seconds while eighty clients call it: without a budget, with one, and with a hedge for
//! the slow minute after.
//!
//! `cargo run -p aqueduct-retry --example storm`. The time is virtual, so it ends at once.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, ManualClock, Random, Timestamp};
use aqueduct_retry::{
    Advice, Budget, BudgetConfig, Config, ConfigError, Growth, Hedge, HedgeConfig, Jitter, Retry, Schedule,
};

const CLIENTS: u64 = 80;

#[derive(Debug)]
struct Down;

impl Classified for Down {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }
}

fn retry(clock: &Clock, budget: Option<Arc<Budget>>) -> Result<Retry, ConfigError> {
    let schedule = Schedule::builder(Growth::Exponential { first: Duration::from_millis(100), factor: 2.0 })
        .jitter(Jitter::Full)
        .build()?;
    let retry = Retry::new(Config { schedule, ..Config::default() }, clock.clone())?;
    Ok(match budget {
        Some(budget) => retry.with_budget(budget),
        None => retry,
    })
}

/// Each client calls once in a second; the service is down from the 10th to the 20th of thirty.
async fn outage(name: &str, budget: Option<Arc<Budget>>) -> Result<(), ConfigError> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let retry = retry(&clock, budget)?;
    let (attempts, failed) = (Cell::new(0_u32), Cell::new(0_u32));
    let client = async |number: u64| {
        clock.sleep(Duration::from_millis(number * 1_000 / CLIENTS)).await;
        for _ in 0..30 {
            let result = retry
                .call(async |_| {
                    let down = (10..20).contains(&clock.now().elapsed_since_start().as_secs());
                    attempts.set(attempts.get() + u32::from(down));
                    if down { Err(Down) } else { Ok(()) }
                })
                .await;
            failed.set(failed.get() + u32::from(result.is_err()));
            clock.sleep(Duration::from_secs(1)).await;
        }
    };
    drive(&hand, (0..CLIENTS).map(client)).await;
    println!(
        "{name}: {} attempts reached the service while it was down, {} calls failed",
        attempts.get(),
        failed.get()
    );
    Ok(())
}

/// One call in fifty takes a second instead of ten milliseconds.
async fn slow_tail(name: &str, hedged: bool) -> Result<(), ConfigError> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let hedge = Hedge::new(HedgeConfig::default(), clock.clone())?.with_budget(Arc::new(Budget::default()));
    let random = std::cell::RefCell::new(Random::seeded(3));
    let (mut times, attempts) = (Vec::new(), Cell::new(0_u32));
    let fetch = async |_| {
        attempts.set(attempts.get() + 1);
        let slow = random.borrow_mut().below(50) == 0;
        let jitter = random.borrow_mut().below(1_000);
        clock.sleep(if slow { Duration::from_secs(1) } else { Duration::from_micros(9_500 + jitter) }).await;
        Ok::<_, Down>(())
    };
    let calls = async {
        for _ in 0..2_000 {
            let begun = clock.now();
            let result = if hedged { hedge.call(fetch).await } else { fetch(1).await };
            if result.is_ok() {
                times.push(clock.now().since(begun));
            }
        }
    };
    drive(&hand, [calls]).await;
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    println!("{name}: {} attempts for {} calls, 99 of 100 within {p99:.1?}", attempts.get(), times.len());
    Ok(())
}

/// Runs futures side by side, and moves the clock whenever all of them wait.
async fn drive<F: Future<Output = ()>>(hand: &ManualClock, futures: impl IntoIterator<Item = F>) {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(move |cx| {
        running.retain_mut(|future| future.as_mut().poll(cx).is_pending());
        if running.is_empty() {
            return std::task::Poll::Ready(());
        }
        hand.advance_to_next();
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ConfigError> {
    outage("three retries, no budget ", None).await?;
    let budget = BudgetConfig { per_second: 1.0, ..BudgetConfig::default() };
    outage("three retries and a budget", Some(Arc::new(Budget::new(budget)?))).await?;
    slow_tail("a slow tail    ", false).await?;
    slow_tail("with a hedge   ", true).await?;

    // The judge says what is worth a retry where the error has no class of ours.
    let (clock, _) = Clock::manual(Timestamp(0));
    let open = |_: &Result<(), &str>| Advice::Refused { retry_after: Some(Duration::from_secs(5)) };
    if let Err(refused) = retry(&clock, None)?.call_with(open, async |_| Err("the circuit is open")).await {
        println!(
            "a refusal is handed back after {} attempts: wait {:?}",
            refused.attempts, refused.retry_after
        );
    }
    Ok(())
}
