use std::time::Duration;

use aqueduct_queue::{Config, Priority};

use crate::store::{SECOND, drain, message, on_every_backend, publish, take};

on_every_backend! {
    async fn what_is_critical_goes_before_what_is_low(store) {
        let queue = store.queue().await;
        for (text, priority) in
            [("low", Priority::Low), ("normal", Priority::Normal), ("critical", Priority::Critical), ("high", Priority::High)]
        {
            queue.publish(message(text).with_priority(priority)).await.unwrap();
        }
        assert_eq!(drain(&queue).await, ["critical", "high", "normal", "low"]);
    }

    async fn without_ageing_what_is_critical_always_goes_first(store) {
        let queue = store.queue_with(Config::builder().ageing(None).build().unwrap()).await;
        queue.publish(message("low").with_priority(Priority::Low)).await.unwrap();
        store.time.advance(SECOND * 86_400);
        queue.publish(message("critical").with_priority(Priority::Critical)).await.unwrap();
        assert_eq!(drain(&queue).await, ["critical", "low"]);
    }

    async fn what_has_waited_an_ageing_longer_goes_before_the_next_priority(store) {
        let queue = store.queue_with(Config::builder().ageing(Some(SECOND * 60)).build().unwrap()).await;
        queue.publish(message("low").with_priority(Priority::Low)).await.unwrap();
        store.time.advance(SECOND * 59);
        queue.publish(message("normal").with_priority(Priority::Normal)).await.unwrap();
        store.time.advance(SECOND * 2);
        queue.publish(message("later").with_priority(Priority::Normal)).await.unwrap();
        assert_eq!(drain(&queue).await, ["normal", "low", "later"]);
    }

    async fn a_message_goes_on_ageing_through_its_attempts(store) {
        let queue = store.queue_with(Config::builder().ageing(Some(SECOND * 60)).build().unwrap()).await;
        queue.publish(message("old").with_priority(Priority::Low)).await.unwrap();
        store.time.advance(SECOND * 100);
        take(&queue).await.nack(SECOND * 100, "again").await.unwrap();
        store.time.advance(SECOND * 100);
        // Had the failed one begun to wait anew, these would go first.
        queue.publish(message("new").with_priority(Priority::Critical)).await.unwrap();
        assert_eq!(drain(&queue).await, ["old", "new"]);
    }

    async fn what_comes_back_goes_before_what_came_later(store) {
        let queue = store.queue().await;
        publish(&queue, &["a", "b", "c"]).await;
        let (a, b) = (take(&queue).await, take(&queue).await);
        b.nack(Duration::ZERO, "again").await.unwrap();
        a.nack(Duration::ZERO, "again").await.unwrap();
        assert_eq!(drain(&queue).await, ["a", "b", "c"]);
    }

    async fn a_delay_does_not_age(store) {
        let queue = store.queue().await;
        queue.publish(message("low").with_priority(Priority::Low).with_delay(SECOND * 3600)).await.unwrap();
        store.time.advance(SECOND * 3600);
        queue.publish(message("normal")).await.unwrap();
        assert_eq!(drain(&queue).await, ["normal", "low"]);
    }
}
