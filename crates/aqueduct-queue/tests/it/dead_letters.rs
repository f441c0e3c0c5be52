use std::time::Duration;

use aqueduct_queue::{Config, DeadCause, DeadLettersFull, Queue, Redrive, State};

use crate::store::{SECOND, drain, message, on_every_backend, publish, take};

async fn dead(queue: &Queue) -> Vec<(String, DeadCause, String)> {
    let peeked = queue.peek(State::Dead, None, 100).await.unwrap();
    let shown = |peeked: aqueduct_queue::Peeked| {
        let dead = peeked.dead.unwrap();
        let body = peeked.message.unwrap().body;
        (String::from_utf8(body.to_vec()).unwrap(), dead.cause, dead.reason.to_string())
    };
    peeked.into_iter().map(shown).collect()
}

/// Makes so many dead letters.
async fn kill(queue: &Queue, texts: &[&str]) {
    publish(queue, texts).await;
    for text in texts {
        take(queue).await.dead_letter(format!("{text} is bad")).await.unwrap();
    }
}

on_every_backend! {
    async fn the_last_attempt_makes_a_dead_letter_with_its_reason(store) {
        let queue = store.queue_with(Config::builder().attempts_max(3).build().unwrap()).await;
        publish(&queue, &["a"]).await;
        for attempt in 1..=3 {
            let held = take(&queue).await;
            assert_eq!(held.attempt, attempt);
            held.nack(Duration::ZERO, format!("failure {attempt}")).await.unwrap();
        }
        assert!(queue.try_reserve().await.unwrap().is_none());
        assert_eq!(dead(&queue).await, [("a".to_owned(), DeadCause::Attempts, "failure 3".to_owned())]);
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.ready, depth.delayed, depth.leased, depth.dead), (0, 0, 0, 1));
        assert_eq!((depth.bytes, depth.dead_bytes), (0, 1));
    }

    async fn leases_that_run_out_are_attempts(store) {
        let queue = store.queue_with(Config::builder().attempts_max(2).build().unwrap()).await;
        publish(&queue, &["a"]).await;
        for _ in 0..2 {
            let _ = take(&queue).await;
            store.time.advance(SECOND * 30);
        }
        assert!(queue.try_reserve().await.unwrap().is_none());
        let dead = dead(&queue).await;
        assert_eq!(dead[0].1, DeadCause::Attempts);
        assert_eq!(dead[0].2, "its lease ran out, or the process of its worker died");
    }

    async fn a_worker_can_set_a_message_aside_at_once(store) {
        let queue = store.queue().await;
        kill(&queue, &["a"]).await;
        assert_eq!(dead(&queue).await, [("a".to_owned(), DeadCause::Refused, "a is bad".to_owned())]);
    }

    async fn dead_letters_are_put_back_with_no_attempts(store) {
        let queue = store.queue_with(Config::builder().attempts_max(1).build().unwrap()).await;
        kill(&queue, &["a", "b", "c"]).await;
        let preview = Redrive { preview: true, ..Redrive::default() };
        assert_eq!(queue.redrive(&preview).await.unwrap(), 3);
        assert_eq!(queue.depth().await.unwrap().dead, 3);
        let one = Redrive { reason_contains: Some("b is".to_owned()), ..Redrive::default() };
        assert_eq!(queue.redrive(&one).await.unwrap(), 1);
        let held = take(&queue).await;
        assert_eq!((crate::store::text(&held), held.attempt), ("b".to_owned(), 1));
        held.ack().await.unwrap();
        let limited = Redrive { limit: Some(1), cause: Some(DeadCause::Refused), ..Redrive::default() };
        assert_eq!(queue.redrive(&limited).await.unwrap(), 1);
        assert_eq!(drain(&queue).await, ["a"]);
        let other = Redrive { cause: Some(DeadCause::Corrupt), ..Redrive::default() };
        assert_eq!(queue.redrive(&other).await.unwrap(), 0);
        assert_eq!(queue.redrive(&Redrive::default()).await.unwrap(), 1);
        assert_eq!(drain(&queue).await, ["c"]);
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.dead, depth.dead_bytes), (0, 0));
    }

    async fn a_redrive_keeps_to_its_rate(store) {
        let queue = store.queue().await;
        kill(&queue, &["x"; 30]).await;
        let redrive = tokio::spawn({
            let queue = queue.clone();
            async move { queue.redrive(&Redrive { rate: Some(10.0), ..Redrive::default() }).await }
        });
        let began = store.clock.now();
        while !redrive.is_finished() {
            tokio::task::yield_now().await;
            let back = queue.depth().await.unwrap().ready;
            let passed = store.clock.now().since(began).as_secs_f64();
            assert!(back as f64 <= passed * 10.0 + 1.0, "{back} after {passed} s");
            store.time.advance(Duration::from_millis(20));
        }
        assert_eq!(redrive.await.unwrap().unwrap(), 30);
    }

    async fn a_message_is_held_back_while_there_is_no_room_among_the_dead(store) {
        let config = Config::builder().dead_letters(1, 1000, DeadLettersFull::Hold).build().unwrap();
        let queue = store.queue_with(config).await;
        kill(&queue, &["a", "b"]).await;
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.dead, depth.delayed), (1, 1));
        assert_eq!(queue.purge(&[State::Dead]).await.unwrap(), 1);
        store.time.advance(Config::HELD_FOR);
        assert_eq!(drain(&queue).await, ["b"]);
    }

    async fn the_oldest_dead_letter_goes_where_that_was_asked_for_and_is_counted(store) {
        let config = Config::builder().dead_letters(10, 4, DeadLettersFull::DropOldest).build().unwrap();
        let queue = store.queue_with(config).await;
        kill(&queue, &["aa", "bb", "cc"]).await;
        let texts: Vec<_> = dead(&queue).await.into_iter().map(|dead| dead.0).collect();
        assert_eq!(texts, ["bb", "cc"]);
        let depth = queue.depth().await.unwrap();
        assert_eq!((depth.dead, depth.dead_bytes, depth.dead_dropped), (2, 4, 1));
    }

    async fn what_has_no_room_stays_dead(store) {
        let queue = store.queue_with(Config::builder().items_max(2).build().unwrap()).await;
        kill(&queue, &["a"]).await;
        publish(&queue, &["b", "c"]).await;
        assert_eq!(queue.redrive(&Redrive::default()).await.unwrap(), 0);
        assert_eq!(queue.depth().await.unwrap().dead, 1);
    }

    async fn a_dead_letter_does_not_hold_its_key_back(store) {
        let queue = store.queue().await;
        queue.publish(message("a1").with_key("a").with_tenant("t")).await.unwrap();
        queue.publish(message("a2").with_key("a").with_tenant("t")).await.unwrap();
        take(&queue).await.dead_letter("no").await.unwrap();
        let a2 = take(&queue).await;
        queue.redrive(&Redrive { tenant: Some("t".to_owned()), ..Redrive::default() }).await.unwrap();
        assert!(queue.try_reserve().await.unwrap().is_none(), "a2 has the key");
        a2.ack().await.unwrap();
        let a1 = take(&queue).await;
        assert_eq!((a1.message.key.as_deref(), a1.message.tenant.as_deref()), (Some("a"), Some("t")));
    }
}
