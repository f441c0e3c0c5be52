//! RustQueue: what it does where ours does better, and its side of the rates.

use std::path::Path;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_queue::Message;
use rustqueue::storage::BufferedRedbConfig;
use rustqueue::{BackoffStrategy, JobOptions, RustQueue};
use serde_json::Value;

use super::{CALLERS, Work, callers, folder, ours, sound};
use crate::report::Report;

pub(super) async fn defects(report: &mut Report) {
    one_key_many_times(report).await;
    a_late_acknowledgement(report).await;
    a_worker_that_died(report).await;
}

fn rustqueue(path: &Path) -> RustQueue {
    sound(sound(RustQueue::redb(path)).build())
}

/// The same message is published by 64 at once, as by clients that try again.
async fn one_key_many_times(report: &mut Report) {
    let folder = folder();
    let peer = rustqueue(&folder.path().join("peer"));
    let queue = ours(&folder.path().join("ours"), Clock::system()).await;
    let (mut pushes, mut publishes) = (Vec::new(), Vec::new());
    for _ in 0..CALLERS {
        let (peer, queue) = (peer.clone(), queue.clone());
        let options = JobOptions { unique_key: Some("one".to_owned()), ..JobOptions::default() };
        pushes.push(tokio::spawn(async move { peer.push("work", "job", Value::Null, Some(options)).await }));
        let message = Message::new("one").with_dedup_id("one");
        publishes.push(tokio::spawn(async move { queue.publish(message).await }));
    }
    for push in pushes {
        // An error is what all but one of them should be told.
        let _ = sound(push.await);
    }
    for publish in publishes {
        sound(sound(publish.await));
    }
    let theirs = sound(peer.get_queue_stats("work").await).waiting;
    let own = sound(queue.depth().await).ready;
    report.defect(
        "D1 messages in the queue after 64 callers published one with the same id at once",
        &format!("RustQueue {theirs} (it looks for the key in one transaction and writes in the next)"),
        &format!("{own}"),
        own == 1,
    );
    sound(queue.store().close().await);
}

/// A worker stalls, its message is given to another one, and then it acknowledges after all.
async fn a_late_acknowledgement(report: &mut Report) {
    let folder = folder();
    let peer = rustqueue(&folder.path().join("peer"));
    let options = JobOptions {
        backoff: Some(BackoffStrategy::Fixed),
        backoff_delay_ms: Some(0),
        ..JobOptions::default()
    };
    sound(peer.push("work", "job", Value::Null, Some(options)).await);
    let first = sound(peer.pull("work", 1).await).remove(0);
    // What its housekeeping does with a job whose worker has not been heard of for 30 s.
    sound(peer.fail(first.id, "job stalled (no heartbeat)").await);
    let second = sound(peer.pull("work", 1).await).remove(0);
    let late = peer.ack(first.id, None).await.is_ok();
    let in_time = peer.ack(second.id, None).await.is_ok();

    let (clock, time) = Clock::manual(Timestamp(1_800_000_000_000));
    let queue = ours(&folder.path().join("ours"), clock).await.with_lease(Duration::from_secs(30));
    sound(queue.publish(Message::new("job")).await);
    let one = sound(queue.reserve().await);
    time.advance(Duration::from_secs(31));
    let other = sound(queue.reserve().await);
    let (own_late, own_in_time) = (one.ack().await.is_ok(), other.ack().await.is_ok());
    let told = |taken| if taken { "taken" } else { "refused" };
    report.defect(
        "D2 the acknowledgement of a worker that lost its message to another one, and of that one",
        &format!("RustQueue {}, {} (jobs have no lease)", told(late), told(in_time)),
        &format!("{}, {}", told(own_late), told(own_in_time)),
        !own_late && own_in_time,
    );
    sound(queue.store().close().await);
}

/// Messages are with a worker when its process ends, and another process opens the file.
async fn a_worker_that_died(report: &mut Report) {
    const MESSAGES: u32 = 10;
    let folder = folder();
    let (peer_path, own_path) = (folder.path().join("peer"), folder.path().join("ours"));
    let peer = rustqueue(&peer_path);
    for _ in 0..MESSAGES {
        sound(peer.push("work", "job", Value::Null, None).await);
    }
    sound(peer.pull("work", MESSAGES).await);
    drop(peer);
    let theirs = sound(rustqueue(&peer_path).pull("work", MESSAGES).await).len();

    let queue = ours(&own_path, Clock::system()).await;
    for _ in 0..MESSAGES {
        sound(queue.publish(Message::new("job")).await);
    }
    let held = sound(queue.reserve_many(MESSAGES as usize, usize::MAX, Duration::ZERO).await);
    sound(queue.store().close().await);
    drop((held, queue));
    let queue = ours(&own_path, Clock::system()).await;
    let own = sound(queue.reserve_many(MESSAGES as usize, usize::MAX, Duration::ZERO).await).len();
    report.defect(
        "D3 of 10 messages that were with a worker when the file was closed, had at once when it is opened again",
        &format!("RustQueue {theirs} (they come when housekeeping runs and 30 s are over)"),
        &format!("{own}"),
        own == MESSAGES as usize,
    );
    sound(queue.store().close().await);
}

// --- rates ---

pub(super) async fn rate(path: &Path, body: String, work: Work) -> f64 {
    let queue = rustqueue(path);
    callers(move || cycle(queue.clone(), body.clone(), work)).await
}

pub(super) async fn coalescing_rate(path: &Path, body: String, work: Work) -> f64 {
    let builder = sound(RustQueue::redb(path));
    let queue = sound(builder.with_write_coalescing(BufferedRedbConfig::default()).build());
    callers(move || cycle(queue.clone(), body.clone(), work)).await
}

async fn cycle(queue: RustQueue, body: String, work: Work) {
    sound(queue.push("work", "job", Value::String(body), None).await);
    if work == Work::Cycle {
        // Each caller has put one in before, so there is one.
        let job = sound(queue.pull("work", 1).await).remove(0);
        sound(queue.ack(job.id, None).await);
    }
}
