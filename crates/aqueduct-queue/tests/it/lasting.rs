//! What a file of queues keeps over restarts.

use std::time::Duration;

use aqueduct_core::Timestamp;
use aqueduct_queue::{Config, DeadCause, Message, OpenError, Pattern, Pause, Priority, Queues, State};

use crate::store::{Kind, SECOND, Store, drain, message, publish, take, text};

fn store() -> Store {
    Store::new(Kind::Embedded)
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let store = store();
    let config = || Config::builder().attempts_max(2).build().unwrap();
    let queue = store.queue_with(config()).await;
    let sent = message("all")
        .with_priority(Priority::Low)
        .with_key("k")
        .with_tenant("t")
        .with_header("a", "b")
        .with_topic(aqueduct_queue::Topic::new("x.y").unwrap());
    queue.publish(sent.clone()).await.unwrap();
    publish(&queue, &["failed", "dead", "acked"]).await;
    take(&queue).await.nack(SECOND * 60, "busy").await.unwrap();
    take(&queue).await.dead_letter("no").await.unwrap();
    take(&queue).await.ack().await.unwrap();
    queue.publish(message("later").with_delay(SECOND * 120)).await.unwrap();
    queue.publish(message("once").with_dedup_id("1")).await.unwrap();
    let at = store.clock.wall();

    let store = store.reopened().await;
    assert_eq!(store.queues.list().await.unwrap(), [("work".to_owned(), vec!["default".to_owned()])]);
    let queue = store.queue_with(config()).await;
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.leased, depth.dead), (2, 2, 0, 1));
    assert!(queue.publish(message("once").with_dedup_id("1")).await.unwrap().duplicate);
    let dead = queue.peek(State::Dead, None, 1).await.unwrap().remove(0);
    assert_eq!(dead.message.unwrap().body, "dead");
    let why = dead.dead.unwrap();
    assert_eq!((why.cause, &*why.reason, why.at), (DeadCause::Refused, "no", at));
    let once = take(&queue).await;
    assert_eq!(text(&once), "once");
    once.ack().await.unwrap();
    let all = take(&queue).await;
    assert_eq!((&all.message, all.attempt, all.published), (&sent, 1, at));
    all.ack().await.unwrap();
    store.time.advance(SECOND * 60);
    let failed = take(&queue).await;
    assert_eq!((text(&failed), failed.attempt), ("failed".to_owned(), 2));
    failed.ack().await.unwrap();
    store.time.advance(SECOND * 60);
    assert_eq!(drain(&queue).await, ["later"]);
}

#[tokio::test]
async fn what_workers_had_comes_again_and_counts_as_an_attempt() {
    let store = store();
    let queue = store.queue().await;
    publish(&queue, &["held", "given back"]).await;
    let held = take(&queue).await;
    let given_back = take(&queue).await;
    let token = held.token;
    given_back.release().await.unwrap();
    let store = store.reopened().await;
    let queue = store.queue().await;
    let again = take(&queue).await;
    assert_eq!((text(&again), again.attempt), ("held".to_owned(), 2));
    assert!(again.token.lease > token.lease, "a lease of before the restart is stale");
    assert_eq!(take(&queue).await.attempt, 1);
    drop(held);
}

#[tokio::test]
async fn a_message_that_kills_its_process_becomes_a_dead_letter() {
    let mut store = store();
    let queue = store.queue_with(Config::builder().attempts_max(3).build().unwrap()).await;
    publish(&queue, &["poison"]).await;
    for attempt in 1..=3 {
        let queue = store.queue_with(Config::builder().attempts_max(3).build().unwrap()).await;
        assert_eq!(take(&queue).await.attempt, attempt);
        store = store.reopened().await;
    }
    let queue = store.queue_with(Config::builder().attempts_max(3).build().unwrap()).await;
    assert!(queue.try_reserve().await.unwrap().is_none());
    let peeked = queue.peek(State::Dead, None, 1).await.unwrap().remove(0);
    assert_eq!((peeked.dead.unwrap().cause, peeked.attempts), (DeadCause::Attempts, 3));
}

#[tokio::test]
async fn a_pause_and_the_groups_last() {
    let store = store();
    let config = || {
        Config::builder().group("a", Pattern::all()).group("b", Pattern::new("x.>").unwrap()).build().unwrap()
    };
    let queue = store.queue_with(config()).await;
    publish(&queue, &["1"]).await;
    queue.pause(Pause::Paused).await.unwrap();
    let store = store.reopened().await;
    let queue = store.queue_with(config()).await;
    assert!(queue.try_reserve().await.unwrap().is_none());
    assert!(queue.depth().await.unwrap().paused);
    queue.pause(Pause::Running).await.unwrap();
    assert_eq!(drain(&queue).await, ["1"]);
    let receipt = queue.publish(message("2")).await.unwrap();
    assert_eq!(receipt.copies, 1);
}

#[tokio::test]
async fn a_step_of_the_date_over_a_restart_makes_no_delay_longer_than_it_was_and_none_negative() {
    for (step, waits) in [(-86_400_000_i64, SECOND * 60), (86_400_000, Duration::ZERO)] {
        let store = store();
        store.queue().await.publish(message("later").with_delay(SECOND * 60)).await.unwrap();
        store.time.set_wall(Timestamp(store.clock.wall().0 + step));
        let store = store.reopened().await;
        let queue = store.queue().await;
        if !waits.is_zero() {
            assert_eq!(drain(&queue).await, [""; 0]);
        }
        store.time.advance(waits);
        assert_eq!(drain(&queue).await, ["later"], "after a step of {step} ms");
    }
}

#[tokio::test]
async fn a_file_has_one_owner_and_says_so() {
    let store = store();
    let path = store.folder.path().join("queues.redb");
    let error = Queues::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().ends_with("is in use by another process; one process owns a file of queues"));
    store.queues.close().await.unwrap();
    Queues::open(&path).unwrap();
}

/// Callers of one runtime are told by a task of it; those of another one, and of one that has ended, are not its concern.
#[test]
fn callers_of_several_runtimes_are_all_told() {
    let folder = tempfile::tempdir().unwrap();
    let queues = Queues::open(folder.path().join("queues.redb")).unwrap();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let alone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let queue = alone.block_on(queues.declare("work", Config::default())).unwrap();
    let publish = |runtime: &tokio::runtime::Runtime| {
        let callers: Vec<_> = (0..16)
            .map(|caller: u32| {
                let queue = queue.clone();
                runtime.spawn(async move {
                    for number in 0..20 {
                        queue.publish(Message::new(format!("{caller} {number}"))).await.unwrap();
                    }
                })
            })
            .collect();
        runtime.block_on(async {
            for caller in callers {
                caller.await.unwrap();
            }
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&runtime()));
        scope.spawn(|| publish(&runtime()));
        publish(&alone);
    });
    // Both are gone by now.
    publish(&runtime());
    assert_eq!(alone.block_on(queue.depth()).unwrap().ready, 4 * 16 * 20);
}
