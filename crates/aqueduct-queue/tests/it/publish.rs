use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_queue::{Config, Durability, Message, Pattern, Priority, PublishError, Topic};

use crate::store::{SECOND, Store, drain, message, on_every_backend, publish, take, text};

on_every_backend! {
    async fn a_message_comes_out_as_it_went_in(store) {
        let queue = store.queue().await;
        let sent = message("body")
            .with_topic(Topic::new("orders.eu").unwrap())
            .with_priority(Priority::High)
            .with_key("customer 7")
            .with_tenant("acme")
            .with_header("traceparent", "00-1-2-01");
        let receipt = queue.publish(sent.clone()).await.unwrap();
        assert_eq!(receipt.durability, store.queues.capabilities().durability);
        let delivery = take(&queue).await;
        assert_eq!(delivery.message, sent);
        assert_eq!(delivery.token.id, receipt.id);
        assert_eq!(delivery.attempt, 1);
        assert_eq!(&*delivery.queue, "work");
        assert_eq!(delivery.published, store.clock.wall());
        delivery.ack().await.unwrap();
        assert!(queue.try_reserve().await.unwrap().is_none());
    }

    async fn messages_come_out_in_the_order_in_which_they_went_in(store) {
        let queue = store.queue().await;
        publish(&queue, &["a", "b", "c"]).await;
        queue.publish_all(vec![message("d"), message("e")], Duration::ZERO).await.unwrap();
        assert_eq!(drain(&queue).await, ["a", "b", "c", "d", "e"]);
    }

    async fn numbers_grow_and_are_not_used_again(store) {
        let queue = store.queue().await;
        let first = queue.publish(message("a")).await.unwrap().id;
        take(&queue).await.ack().await.unwrap();
        let second = queue.publish(message("b")).await.unwrap().id;
        assert!(second > first);
    }

    async fn a_delayed_message_comes_when_its_time_has_come(store) {
        let queue = store.queue().await;
        queue.publish(message("later").with_delay(SECOND * 10)).await.unwrap();
        queue.publish(message("now")).await.unwrap();
        assert_eq!(drain(&queue).await, ["now"]);
        assert_eq!(queue.depth().await.unwrap().delayed, 1);
        store.time.advance(SECOND * 10 - Duration::from_millis(1));
        assert_eq!(drain(&queue).await, [""; 0]);
        store.time.advance(Duration::from_millis(1));
        assert_eq!(drain(&queue).await, ["later"]);
    }

    async fn whoever_waits_is_woken_by_a_message(store) {
        let queue = store.queue().await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { text(&queue.reserve().await.unwrap()) }
        });
        // It waits on the clock for nothing else than the end of its patience.
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        publish(&queue, &["a"]).await;
        assert_eq!(waiting.await.unwrap(), "a");
    }

    async fn whoever_waits_is_woken_by_the_end_of_a_delay(store) {
        let queue = store.queue().await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { text(&queue.reserve().await.unwrap()) }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        // It comes to be known while somebody waits already.
        queue.publish(message("later").with_delay(SECOND)).await.unwrap();
        while !waiting.is_finished() {
            tokio::task::yield_now().await;
            store.time.advance(Duration::from_millis(100));
        }
        assert_eq!(waiting.await.unwrap(), "later");
        assert!(store.clock.now().elapsed_since_start() < SECOND * 60, "it waited for its patience to end");
    }

    async fn a_wait_without_a_message_ends_in_time(store) {
        let queue = store.queue().await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.reserve_within(SECOND).await.unwrap().is_none() }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        store.time.advance(SECOND);
        assert!(waiting.await.unwrap());
    }

    async fn a_wait_that_is_given_up_takes_nothing(store) {
        let queue = store.queue().await;
        for _ in 0..3 {
            let waiting = tokio::spawn({
                let queue = queue.clone();
                async move { queue.reserve().await.map(|_| ()) }
            });
            while store.time.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            waiting.abort();
            let _ = waiting.await;
        }
        publish(&queue, &["a"]).await;
        assert_eq!(drain(&queue).await, ["a"]);
    }

    async fn many_messages_are_taken_up_to_a_number_and_up_to_bytes(store) {
        let queue = store.queue().await;
        publish(&queue, &["aaaa", "bbbb", "cccc", "dddd"]).await;
        let taken = queue.reserve_many(10, 9, Duration::ZERO).await.unwrap();
        assert_eq!(taken.iter().map(text).collect::<Vec<_>>(), ["aaaa", "bbbb"]);
        let taken = queue.reserve_many(1, 100, Duration::ZERO).await.unwrap();
        assert_eq!(taken.len(), 1);
        let taken = queue.reserve_many(1, 1, Duration::ZERO).await.unwrap();
        assert_eq!(taken.len(), 1, "one comes however large it is");
    }

    async fn what_cannot_be_is_refused_with_its_name_and_nothing_is_kept(store) {
        let config = Config::builder().message_bytes_max(100).group("eu", Pattern::new("eu.>").unwrap()).build();
        let queue = store.queue_with(config.unwrap()).await;
        let eu = |message: Message| message.with_topic(Topic::new("eu.a").unwrap());
        let errors = [
            (eu(message(&"x".repeat(101))), "a message for queue work has 105 bytes, the most is 100"),
            (eu(message("a").with_delay(Duration::MAX)), "delay is 18446744073709551615.999999999s, allowed is 0ns to 315360000s"),
            (message("a"), "no group of queue work takes the topic (none)"),
            (message("a").with_topic(Topic::new("us").unwrap()), "no group of queue work takes the topic us"),
            (eu(message("a").with_dedup_id("x".repeat(1025))), "bytes of the dedup id is 1025, allowed is 0 to 1024"),
        ];
        for (wrong, said) in errors {
            let error = queue.publish_all(vec![eu(message("fine")), wrong], Duration::ZERO).await.unwrap_err();
            assert_eq!(error.to_string(), said);
            assert_eq!(error.class(), ErrorClass::Invalid);
        }
        assert_eq!(queue.depth().await.unwrap().ready, 0);
        let nobody = store.queues.queue("nobody");
        let error = nobody.publish(message("a")).await.unwrap_err();
        assert_eq!(error, PublishError::NoQueue { queue: "nobody".to_owned() });
        let error = nobody.try_reserve().await.unwrap_err();
        assert_eq!(error.to_string(), "there is no group default of a queue nobody; declare it first");
    }
}

#[tokio::test]
async fn a_receipt_of_memory_does_not_promise_a_disk() {
    let store = Store::new(crate::store::Kind::Memory);
    let receipt = store.queue().await.publish(message("a")).await.unwrap();
    assert_eq!(receipt.durability, Durability::Memory);
}
