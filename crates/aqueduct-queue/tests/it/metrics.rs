//! What a queue counts into a registry.

use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_metrics::Registry;
use aqueduct_queue::{Config, Message, Queues};

#[tokio::test]
async fn everything_that_goes_through_a_handle_is_counted() {
    let (clock, hands) = Clock::manual(Timestamp(1_767_225_600_000));
    let registry = Registry::default();
    let config = Config::builder().items_max(4).attempts_max(9).build().expect("valid");
    let plain = Queues::memory_with(clock).declare("mails", config).await.expect("declared");
    let queue = plain.clone().with_metrics(&registry).expect("registered");

    for body in ["a", "b", "c"] {
        queue.publish(Message::new(body)).await.expect("published");
    }
    queue.publish_all(vec![Message::new("d"), Message::new("e")], Duration::ZERO).await.expect_err("full");
    plain.publish(Message::new("unseen")).await.expect("published");
    hands.advance(Duration::from_secs(2));

    queue.reserve().await.expect("there").ack().await.expect("settled");
    queue.reserve().await.expect("there").nack(Duration::from_secs(60), "busy").await.expect("settled");
    queue.reserve().await.expect("there").dead_letter("wrong").await.expect("settled");
    queue.reserve().await.expect("there").release().await.expect("settled");
    let late = queue.reserve().await.expect("there");
    let (token, done) = (late.token, late.ack_and_publish(Vec::new()).await);
    done.expect("settled");
    let again = queue.settle(vec![(token, aqueduct_queue::Settlement::Ack)]).await;
    assert!(again[0].is_err());
    queue.publish(Message::new("waits")).await.expect("published");
    hands.advance(Duration::from_secs(3));
    queue.depth().await.expect("counted");

    let text = registry.snapshot().to_text();
    for line in [
        "aqueduct_queue_published_total{queue=\"mails\"} 4\n",
        "aqueduct_queue_refused_total{queue=\"mails\"} 2\n",
        "aqueduct_queue_receipt_seconds_count{queue=\"mails\"} 5\n",
        "aqueduct_queue_delivered_total{queue=\"mails\",group=\"default\"} 5\n",
        // The one that was released was no attempt, so its first one came later.
        "aqueduct_queue_wait_seconds_count{queue=\"mails\",group=\"default\"} 5\n",
        "aqueduct_queue_wait_seconds_sum{queue=\"mails\",group=\"default\"} 10\n",
        "aqueduct_queue_settled_total{queue=\"mails\",group=\"default\",outcome=\"acknowledged\"} 2\n",
        "aqueduct_queue_settled_total{queue=\"mails\",group=\"default\",outcome=\"failed\"} 1\n",
        "aqueduct_queue_settled_total{queue=\"mails\",group=\"default\",outcome=\"released\"} 1\n",
        "aqueduct_queue_settled_total{queue=\"mails\",group=\"default\",outcome=\"dead_lettered\"} 1\n",
        "aqueduct_queue_settled_total{queue=\"mails\",group=\"default\",outcome=\"stale\"} 1\n",
        "aqueduct_queue_messages{queue=\"mails\",group=\"default\",state=\"ready\"} 1\n",
        "aqueduct_queue_messages{queue=\"mails\",group=\"default\",state=\"delayed\"} 1\n",
        "aqueduct_queue_messages{queue=\"mails\",group=\"default\",state=\"leased\"} 0\n",
        "aqueduct_queue_messages{queue=\"mails\",group=\"default\",state=\"dead\"} 1\n",
        "aqueduct_queue_oldest_wait_seconds{queue=\"mails\",group=\"default\"} 3\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
