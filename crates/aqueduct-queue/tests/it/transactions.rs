use aqueduct_queue::{Config, Message, PublishError, SettleError};

use crate::store::{SECOND, drain, message, on_every_backend, publish, take};

on_every_backend! {
    async fn a_message_moves_to_another_queue_whole(store) {
        let queue = store.queue().await;
        let other = store.queues.declare("other", Config::default()).await.unwrap();
        let sent = message("a").with_key("k").with_tenant("t").with_header("h", "v");
        queue.publish(sent.clone()).await.unwrap();
        let receipt = take(&queue).await.move_to("other").await.unwrap();
        assert_eq!(queue.depth().await.unwrap().bytes, 0);
        let moved = take(&other).await;
        assert_eq!(moved.message, sent);
        assert_eq!((moved.token.id, moved.attempt), (receipt.id, 1));
        assert_eq!(&*moved.queue, "other");
    }

    async fn what_came_of_a_message_is_there_exactly_when_it_is_gone(store) {
        let queue = store.queue().await;
        let config = Config::builder().items_max(2).build().unwrap();
        let out = store.queues.declare("out", config).await.unwrap();
        publish(&queue, &["a"]).await;
        let results = |count: usize| -> Vec<(Box<str>, Message)> {
            (0..count).map(|number| ("out".into(), message(&number.to_string()))).collect()
        };
        let held = take(&queue).await;
        let token = held.token;
        let full = held.ack_and_publish(results(3)).await.unwrap_err();
        assert!(matches!(full, SettleError::Publish(PublishError::TooLarge { .. } | PublishError::Full { .. })));
        assert_eq!(queue.depth().await.unwrap().leased, 1, "it is still leased");
        assert_eq!(out.depth().await.unwrap().ready, 0);
        store.time.advance(SECOND * 30);
        let held = take(&queue).await;
        assert_eq!(held.token.id, token.id);
        assert_eq!(held.ack_and_publish(results(2)).await.unwrap().len(), 2);
        assert_eq!(drain(&out).await, ["0", "1"]);
        assert_eq!(drain(&queue).await, [""; 0]);
    }

    async fn a_stale_worker_publishes_nothing(store) {
        let queue = store.queue().await;
        let out = store.queues.declare("out", Config::default()).await.unwrap();
        publish(&queue, &["a"]).await;
        let first = take(&queue).await;
        store.time.advance(SECOND * 30);
        let second = take(&queue).await;
        let stale = first.ack_and_publish(vec![("out".into(), message("x"))]).await.unwrap_err();
        assert!(matches!(stale, SettleError::StaleLease { .. }));
        second.ack_and_publish(vec![("out".into(), message("y"))]).await.unwrap();
        assert_eq!(drain(&out).await, ["y"]);
    }

    async fn a_queue_that_is_not_there_is_named(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let error = take(&queue).await.move_to("nowhere").await.unwrap_err();
        assert_eq!(error.to_string(), "there is no queue nowhere; declare it first");
        assert_eq!(queue.depth().await.unwrap().leased, 1);
    }
}
