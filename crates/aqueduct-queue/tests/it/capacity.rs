use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_queue::{Config, Pressure, PublishError};

use crate::store::{SECOND, drain, message, on_every_backend, publish, take};

on_every_backend! {
    async fn refuses_when_full_of_messages(store) {
        let queue = store.queue_with(Config::builder().items_max(2).build().unwrap()).await;
        publish(&queue, &["a", "b"]).await;
        let full = queue.try_publish(message("c")).await.unwrap_err();
        assert_eq!(full.to_string(), "queue work is full: 2 of 2 messages and 2 of 268435456 bytes");
        assert!(full.is_refusal());
        assert_eq!(full.class(), ErrorClass::Overload);
        // What a worker has takes room, too.
        let held = take(&queue).await;
        assert!(queue.try_publish(message("c")).await.is_err());
        held.ack().await.unwrap();
        queue.try_publish(message("c")).await.unwrap();
        assert_eq!(drain(&queue).await, ["b", "c"]);
    }

    async fn refuses_when_full_of_bytes(store) {
        let queue = store.queue_with(Config::builder().bytes_max(10).build().unwrap()).await;
        publish(&queue, &["aaaaaa"]).await;
        assert!(matches!(queue.try_publish(message("bbbbb")).await, Err(PublishError::Full { bytes: 6, .. })));
        queue.try_publish(message("bbbb")).await.unwrap();
        // A batch is taken whole or not at all, and one that can never fit is no matter of waiting.
        let batch = vec![message("cccccc"), message("ddddd")];
        let error = queue.publish_all(batch, SECOND).await.unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { bytes: 11, bytes_max: 10, .. }), "{error:?}");
        assert_eq!(drain(&queue).await, ["aaaaaa", "bbbb"]);
    }

    async fn a_publisher_that_waits_goes_on_when_there_is_room(store) {
        let queue = store.queue_with(Config::builder().items_max(1).build().unwrap()).await;
        publish(&queue, &["a"]).await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.publish(message("b")).await }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        take(&queue).await.ack().await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(drain(&queue).await, ["b"]);
    }

    async fn a_publisher_that_waits_is_told_in_time(store) {
        let queue = store.queue_with(Config::builder().items_max(1).build().unwrap()).await;
        publish(&queue, &["a"]).await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.publish_within(message("b"), SECOND).await }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        store.time.advance(SECOND);
        assert!(matches!(waiting.await.unwrap(), Err(PublishError::Full { .. })));
        assert_eq!(drain(&queue).await, ["a"]);
    }

    async fn a_publisher_that_gives_up_waiting_has_published_nothing(store) {
        let queue = store.queue_with(Config::builder().items_max(1).build().unwrap()).await;
        publish(&queue, &["a"]).await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.publish(message("b")).await }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        waiting.abort();
        let _ = waiting.await;
        assert_eq!(drain(&queue).await, ["a"]);
        assert_eq!(queue.depth().await.unwrap().ready, 0);
    }

    async fn publishers_are_told_when_it_is_full_and_when_there_is_room(store) {
        let queue = store.queue_with(Config::builder().items_max(10).build().unwrap()).await;
        let mut pressure = queue.pressure().unwrap();
        assert_eq!(*pressure.borrow_and_update(), Pressure::Open);
        publish(&queue, &["x"; 9]).await;
        assert!(!pressure.has_changed().unwrap());
        publish(&queue, &["x"]).await;
        assert_eq!(*pressure.borrow_and_update(), Pressure::Full);
        take(&queue).await.ack().await.unwrap();
        assert_eq!(*pressure.borrow_and_update(), Pressure::Open);
        publish(&queue, &["x"]).await;
        assert_eq!(*pressure.borrow_and_update(), Pressure::Full);
    }

    async fn many_publishers_at_once_never_pass_the_capacity(store) {
        let queue = store.queue_with(Config::builder().items_max(50).build().unwrap()).await;
        let publishers = (0..200).map(|number| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.try_publish(message(&number.to_string())).await.is_ok() })
        });
        let mut taken = 0;
        for publisher in publishers.collect::<Vec<_>>() {
            taken += u64::from(publisher.await.unwrap());
        }
        assert_eq!(taken, 50);
        assert_eq!(queue.depth().await.unwrap().ready, 50);
        assert_eq!(drain(&queue).await.len(), 50);
    }

    async fn waiting_publishers_and_workers_pass_everything_through_a_small_queue(store) {
        let queue = store.queue_with(Config::builder().items_max(3).build().unwrap()).await;
        let publishers: Vec<_> = (0..20)
            .map(|publisher| {
                let queue = queue.clone();
                tokio::spawn(async move {
                    for number in 0..20 {
                        queue.publish(message(&format!("{publisher}-{number}"))).await.unwrap();
                    }
                })
            })
            .collect();
        let mut seen = std::collections::HashSet::new();
        while seen.len() < 400 {
            let delivery = queue.reserve().await.unwrap();
            assert!(seen.insert(crate::store::text(&delivery)));
            delivery.ack().await.unwrap();
        }
        for publisher in publishers {
            publisher.await.unwrap();
        }
        assert_eq!(queue.reserve_many(1, 1, Duration::ZERO).await.unwrap().len(), 0);
    }
}
