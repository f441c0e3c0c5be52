use std::time::Duration;

use aqueduct_queue::Config;

use crate::store::{SECOND, drain, message, on_every_backend};

on_every_backend! {
    async fn a_message_with_a_known_dedup_id_is_not_taken_again(store) {
        let queue = store.queue().await;
        let first = queue.publish(message("a").with_dedup_id("1")).await.unwrap();
        let again = queue.publish(message("a").with_dedup_id("1")).await.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.id, again.copies), (first.id, 0));
        let receipts = queue
            .publish_all(
                vec![message("b").with_dedup_id("2"), message("b").with_dedup_id("2"), message("a").with_dedup_id("1")],
                Duration::ZERO,
            )
            .await
            .unwrap();
        assert_eq!(receipts.iter().map(|receipt| receipt.duplicate).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(drain(&queue).await, ["a", "b"]);
        // Also when it is long gone.
        assert!(queue.publish(message("a").with_dedup_id("1")).await.unwrap().duplicate);
    }

    async fn a_dedup_id_is_forgotten_after_its_window(store) {
        let queue = store.queue_with(Config::builder().dedup(SECOND * 60, 10).build().unwrap()).await;
        queue.publish(message("a").with_dedup_id("1")).await.unwrap();
        store.time.advance(SECOND * 59);
        assert!(queue.publish(message("a").with_dedup_id("1")).await.unwrap().duplicate);
        store.time.advance(SECOND);
        assert!(!queue.publish(message("a").with_dedup_id("1")).await.unwrap().duplicate);
    }

    async fn the_oldest_dedup_ids_are_forgotten_where_there_are_too_many(store) {
        let queue = store.queue_with(Config::builder().dedup(SECOND * 60, 2).build().unwrap()).await;
        for id in ["1", "2", "3", "4"] {
            queue.publish(message(id).with_dedup_id(id)).await.unwrap();
        }
        assert!(queue.publish(message("4").with_dedup_id("4")).await.unwrap().duplicate);
        assert!(!queue.publish(message("1").with_dedup_id("1")).await.unwrap().duplicate);
    }

    async fn a_full_queue_takes_what_it_has_already(store) {
        let queue = store.queue_with(Config::builder().items_max(1).build().unwrap()).await;
        queue.publish(message("a").with_dedup_id("1")).await.unwrap();
        assert!(queue.try_publish(message("a").with_dedup_id("1")).await.unwrap().duplicate);
        assert!(queue.try_publish(message("b").with_dedup_id("2")).await.is_err());
        assert_eq!(drain(&queue).await, ["a"]);
        // What was refused is not remembered.
        assert!(!queue.try_publish(message("b").with_dedup_id("2")).await.unwrap().duplicate);
    }
}
