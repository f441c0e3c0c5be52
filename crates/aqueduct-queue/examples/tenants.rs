//! Three tenants share two workers: one has a thousand messages waiting, the others come later and do not wait for them.
//!
//! `cargo run -p aqueduct-queue --example tenants`. The time is virtual, so it ends at once.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_queue::{Config, Message, Queues};

/// What a message takes.
const WORK: Duration = Duration::from_millis(100);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let queues = Queues::memory_with(clock.clone());
    let queue = queues.declare("reports", Config::default()).await?;
    let backlog = (0..1000).map(|_| Message::new("report").with_tenant("bulk")).collect();
    queue.publish_all(backlog, Duration::ZERO).await?;

    let mut waits: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for second in 0..10 {
        for tenant in ["ada", "bob"] {
            queue.publish(Message::new(format!("{tenant} {second}")).with_tenant(tenant)).await?;
        }
        let published = clock.now();
        // Two workers are done with twenty messages in a second.
        for _ in 0..10 {
            let mut pair = Vec::new();
            for _ in 0..2 {
                let delivery = queue.reserve().await?;
                if let Some(tenant) = delivery.message.tenant.as_deref().filter(|tenant| *tenant != "bulk") {
                    waits.entry(tenant.to_owned()).or_default().push(clock.now().since(published));
                }
                pair.push(delivery);
            }
            hand.advance(WORK);
            for delivery in pair {
                delivery.ack().await?;
            }
        }
    }
    for (tenant, waits) in &waits {
        let longest = waits.iter().max().copied().unwrap_or_default();
        println!("{tenant:>4}: {} done, none waited longer than {longest:?}", waits.len());
    }
    for share in queue.tenants(10).await? {
        println!(
            "{:>4}: {:4} waiting{}",
            share.tenant,
            share.ready,
            if share.noisy { ", noisy" } else { "" }
        );
    }
    Ok(())
}
