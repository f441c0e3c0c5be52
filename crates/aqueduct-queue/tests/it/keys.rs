use std::time::Duration;

use crate::store::{SECOND, drain, message, on_every_backend, take, text};

on_every_backend! {
    async fn of_one_key_one_message_is_worked_on_at_a_time_and_in_order(store) {
        let queue = store.queue().await;
        for text in ["a1", "a2", "a3"] {
            queue.publish(message(text).with_key("a")).await.unwrap();
        }
        queue.publish(message("b1").with_key("b")).await.unwrap();
        let a1 = take(&queue).await;
        let b1 = take(&queue).await;
        assert_eq!((text(&a1), text(&b1)), ("a1".to_owned(), "b1".to_owned()));
        assert!(queue.try_reserve().await.unwrap().is_none());
        assert_eq!(queue.depth().await.unwrap().ready, 2);
        a1.ack().await.unwrap();
        let a2 = take(&queue).await;
        assert_eq!(text(&a2), "a2");
        assert!(queue.try_reserve().await.unwrap().is_none());
        a2.dead_letter("no").await.unwrap();
        assert_eq!(drain(&queue).await, ["a3"]);
    }

    async fn a_message_that_failed_holds_its_key_back_until_it_is_done(store) {
        let queue = store.queue().await;
        for text in ["a1", "a2"] {
            queue.publish(message(text).with_key("a")).await.unwrap();
        }
        take(&queue).await.nack(SECOND, "busy").await.unwrap();
        assert!(queue.try_reserve().await.unwrap().is_none());
        store.time.advance(SECOND);
        assert_eq!(drain(&queue).await, ["a1", "a2"]);
    }

    async fn a_message_that_is_given_back_keeps_its_place_in_its_key(store) {
        let queue = store.queue().await;
        for text in ["a1", "a2"] {
            queue.publish(message(text).with_key("a")).await.unwrap();
        }
        take(&queue).await.release().await.unwrap();
        take(&queue).await.nack(Duration::ZERO, "again").await.unwrap();
        assert_eq!(drain(&queue).await, ["a1", "a2"]);
    }

    async fn a_key_is_free_when_its_last_message_is_gone(store) {
        let queue = store.queue().await;
        for round in 0..3 {
            queue.publish(message(&round.to_string()).with_key("a")).await.unwrap();
            assert_eq!(drain(&queue).await, [round.to_string()]);
        }
    }

    async fn a_delayed_message_holds_nobody_back_before_its_time(store) {
        let queue = store.queue().await;
        queue.publish(message("later").with_key("a").with_delay(SECOND)).await.unwrap();
        queue.publish(message("now").with_key("a")).await.unwrap();
        assert_eq!(drain(&queue).await, ["now"]);
        store.time.advance(SECOND);
        assert_eq!(drain(&queue).await, ["later"]);
    }
}
