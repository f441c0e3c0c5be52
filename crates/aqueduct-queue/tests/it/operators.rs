use std::time::Duration;

use aqueduct_queue::{Broken, Config, Pause, PublishError, ReserveError, SettleError, State};

use crate::store::{SECOND, drain, message, on_every_backend, publish, take};

on_every_backend! {
    async fn a_paused_group_hands_out_nothing_and_takes_what_comes(store) {
        let queue = store.queue().await;
        queue.pause(Pause::Paused).await.unwrap();
        publish(&queue, &["a"]).await;
        assert!(queue.try_reserve().await.unwrap().is_none());
        let depth = queue.depth().await.unwrap();
        assert!(depth.paused);
        assert_eq!(depth.ready, 1);
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { crate::store::text(&queue.reserve().await.unwrap()) }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        queue.pause(Pause::Running).await.unwrap();
        assert_eq!(waiting.await.unwrap(), "a");
    }

    async fn looking_takes_nothing_and_goes_on_behind_what_was_seen(store) {
        let queue = store.queue().await;
        publish(&queue, &["a", "b", "c", "d"]).await;
        queue.publish(message("later").with_delay(SECOND)).await.unwrap();
        let held = take(&queue).await;
        let texts = |peeked: Vec<aqueduct_queue::Peeked>| {
            let text = |peeked: &aqueduct_queue::Peeked| {
                String::from_utf8(peeked.message.as_ref().unwrap().body.to_vec()).unwrap()
            };
            (peeked.iter().map(text).collect::<Vec<_>>(), peeked.last().map(|last| last.id))
        };
        let (first, last) = texts(queue.peek(State::Ready, None, 2).await.unwrap());
        assert_eq!(first, ["b", "c"]);
        let (rest, _) = texts(queue.peek(State::Ready, last, 2).await.unwrap());
        assert_eq!(rest, ["d"]);
        assert_eq!(texts(queue.peek(State::Delayed, None, 9).await.unwrap()).0, ["later"]);
        let leased = queue.peek(State::Leased, None, 9).await.unwrap();
        assert_eq!((leased[0].id, leased[0].attempts), (held.token.id, 1));
        held.ack().await.unwrap();
        assert_eq!(drain(&queue).await, ["b", "c", "d"]);
    }

    async fn what_is_purged_is_gone_and_what_workers_have_stays(store) {
        let queue = store.queue_with(Config::builder().items_max(4).build().unwrap()).await;
        queue.publish(message("held").with_key("k")).await.unwrap();
        queue.publish(message("behind").with_key("k")).await.unwrap();
        queue.publish(message("ready")).await.unwrap();
        queue.publish(message("later").with_delay(SECOND)).await.unwrap();
        let held = take(&queue).await;
        assert_eq!(queue.purge(&[State::Ready, State::Leased]).await.unwrap(), 2);
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.ready, depth.delayed, depth.leased), (0, 1, 1));
        assert_eq!(queue.purge(&[State::Delayed]).await.unwrap(), 1);
        held.ack().await.unwrap();
        assert_eq!(queue.depth().await.unwrap().bytes, 0);
        publish(&queue, &["a", "b", "c", "d"]).await;
        assert_eq!(drain(&queue).await, ["a", "b", "c", "d"]);
    }

    async fn messages_are_discarded_by_their_numbers_wherever_they_are(store) {
        let queue = store.queue().await;
        let mut ids = Vec::new();
        for (text, key, delay) in [
            ("held", Some("k"), 0), ("behind", Some("k"), 0), ("later", None, 1), ("dead", None, 0), ("ready", None, 0), ("stays", None, 0),
        ] {
            let mut message = message(text).with_delay(SECOND * delay);
            message.key = key.map(Into::into);
            ids.push(queue.publish(message).await.unwrap().id);
        }
        let held = take(&queue).await;
        take(&queue).await.dead_letter("no").await.unwrap();
        assert_eq!(queue.discard(&ids[..5]).await.unwrap(), 5);
        assert_eq!(queue.discard(&ids[..5]).await.unwrap(), 0);
        assert!(matches!(held.ack().await, Err(SettleError::StaleLease { .. })));
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.ready, depth.delayed, depth.leased, depth.dead, depth.bytes, depth.dead_bytes), (1, 0, 0, 0, 5, 0));
        queue.publish(message("next").with_key("k")).await.unwrap();
        assert_eq!(drain(&queue).await, ["stays", "next"]);
    }

    async fn the_wait_of_the_oldest_message_is_told(store) {
        let queue = store.queue().await;
        assert_eq!(queue.depth().await.unwrap().oldest_wait, Duration::ZERO);
        publish(&queue, &["a"]).await;
        store.time.advance(SECOND * 5);
        publish(&queue, &["b"]).await;
        assert_eq!(queue.depth().await.unwrap().oldest_wait, SECOND * 5);
    }

    async fn a_closed_store_says_so_and_whoever_waits_is_told(store) {
        let queue = store.queue().await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.reserve().await.map(|_| ()) }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        store.queues.close().await.unwrap();
        assert_eq!(waiting.await.unwrap(), Err(ReserveError::Broken(Broken::Closed)));
        assert_eq!(queue.publish(message("a")).await, Err(PublishError::Broken(Broken::Closed)));
        store.queues.close().await.unwrap();
    }

    async fn names_that_cannot_be_are_refused(store) {
        let long = "x".repeat(129);
        for name in ["", "a b", "a/b", "ä", &long] {
            let error = store.queues.declare(name, Config::default()).await.unwrap_err();
            assert!(error.to_string().ends_with("allowed is 1 to 128 letters, digits and - _ . :"), "{error}");
        }
    }
}

#[test]
fn a_configuration_that_cannot_be_names_its_field() {
    let error = |builder: aqueduct_queue::Builder| builder.build().unwrap_err().field;
    assert_eq!(error(Config::builder().items_max(0)), "items_max");
    assert_eq!(error(Config::builder().bytes_max(0)), "bytes_max");
    assert_eq!(error(Config::builder().message_bytes_max(0)), "message_bytes_max");
    assert_eq!(error(Config::builder().lease(Duration::ZERO)), "lease");
    assert_eq!(error(Config::builder().attempts_max(0)), "attempts_max");
    assert_eq!(error(Config::builder().ageing(Some(Duration::ZERO))), "ageing");
    assert_eq!(error(Config::builder().weight("a", 0)), "weight");
    assert_eq!(error(Config::builder().dedup(Duration::ZERO, 1)), "dedup.window");
    assert_eq!(error(Config::builder().dedup(SECOND, 0)), "dedup.items_max");
}
