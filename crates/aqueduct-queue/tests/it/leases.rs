use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_queue::{Config, SettleError, Settlement};

use crate::store::{SECOND, drain, message, on_every_backend, publish, take};

on_every_backend! {
    async fn a_message_is_with_one_worker_at_a_time(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let held = take(&queue).await;
        assert!(queue.try_reserve().await.unwrap().is_none());
        assert_eq!(queue.depth().await.unwrap().leased, 1);
        held.ack().await.unwrap();
        assert_eq!(queue.depth().await.unwrap().leased, 0);
    }

    async fn a_message_whose_lease_ran_out_goes_to_another_worker_and_fences_the_first_one_off(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let first = take(&queue).await;
        store.time.advance(SECOND * 30);
        let second = take(&queue).await;
        assert_eq!(second.attempt, 2);
        assert!(second.token.lease > first.token.lease);
        let (token, stale) = (first.token, first.ack().await.unwrap_err());
        assert_eq!(stale, SettleError::StaleLease { id: token.id, lease: token.lease });
        assert_eq!(stale.class(), ErrorClass::Permanent);
        second.ack().await.unwrap();
        assert_eq!(drain(&queue).await, [""; 0]);
    }

    async fn whoever_waits_gets_a_message_when_its_lease_runs_out(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let _held = take(&queue).await;
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.reserve().await.unwrap().attempt }
        });
        while store.time.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        store.time.advance(SECOND * 30);
        assert_eq!(waiting.await.unwrap(), 2);
    }

    async fn a_lease_that_is_extended_lasts(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let held = take(&queue).await;
        store.time.advance(SECOND * 29);
        held.extend(SECOND * 30).await.unwrap();
        store.time.advance(SECOND * 29);
        assert!(queue.try_reserve().await.unwrap().is_none());
        held.ack().await.unwrap();
        publish(&queue, &["b"]).await;
        let held = take(&queue).await;
        let error = held.extend(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.to_string(), "lease is 0ns, allowed is 1ms to 604800s");
    }

    async fn a_late_answer_counts_until_the_message_is_somebody_elses(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let held = take(&queue).await;
        store.time.advance(SECOND * 31);
        held.ack().await.unwrap();
        assert_eq!(drain(&queue).await, [""; 0]);
    }

    async fn a_message_that_is_given_back_comes_at_once_and_has_had_no_attempt(store) {
        let queue = store.queue_with(Config::builder().attempts_max(1).build().unwrap()).await;
        publish(&queue, &["a"]).await;
        for _ in 0..5 {
            let held = take(&queue).await;
            assert_eq!(held.attempt, 1);
            held.release().await.unwrap();
        }
        assert_eq!(drain(&queue).await, ["a"]);
    }

    async fn a_message_that_failed_comes_again_after_its_delay(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        take(&queue).await.nack(SECOND * 5, "busy").await.unwrap();
        assert_eq!(queue.depth().await.unwrap().delayed, 1);
        assert!(queue.try_reserve().await.unwrap().is_none());
        store.time.advance(SECOND * 5);
        assert_eq!(take(&queue).await.attempt, 2);
    }

    async fn settling_many_answers_each_for_itself(store) {
        let queue = store.queue().await;
        publish(&queue, &["a", "b", "c"]).await;
        let mut held = queue.reserve_many(3, usize::MAX, Duration::ZERO).await.unwrap();
        let stale = held.remove(0);
        store.time.advance(SECOND * 30);
        let mut again = queue.reserve_many(3, usize::MAX, Duration::ZERO).await.unwrap();
        let results = queue
            .settle(vec![
                (stale.token, Settlement::Ack),
                (again.remove(0).token, Settlement::Ack),
                (again.remove(0).token, Settlement::Nack { delay: Duration::ZERO, reason: "x".into() }),
                (again.remove(0).token, Settlement::Release),
            ])
            .await;
        assert!(matches!(results[0], Err(SettleError::StaleLease { .. })), "{results:?}");
        assert!(results[1..].iter().all(Result::is_ok), "{results:?}");
        assert_eq!(drain(&queue).await, ["b", "c"]);
    }

    async fn settling_twice_is_stale(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        let held = take(&queue).await;
        let token = held.token;
        held.ack().await.unwrap();
        for settlement in [Settlement::Ack, Settlement::Release, Settlement::DeadLetter { reason: "no".into() }] {
            let again = queue.settle(vec![(token, settlement)]).await;
            assert_eq!(again, [Err(SettleError::StaleLease { id: token.id, lease: token.lease })]);
        }
        assert_eq!(queue.depth().await.unwrap().dead, 0);
    }

    async fn a_worker_may_take_messages_for_longer_than_the_queue_says(store) {
        let queue = store.queue().await.with_lease(SECOND * 300);
        publish(&queue, &["a"]).await;
        let held = take(&queue).await;
        assert_eq!(held.lease, SECOND * 300);
        store.time.advance(SECOND * 299);
        assert!(queue.try_reserve().await.unwrap().is_none());
        store.time.advance(SECOND);
        assert_eq!(take(&queue).await.attempt, 2);
    }

    async fn the_date_of_the_machine_decides_nothing(store) {
        let queue = store.queue().await;
        publish(&queue, &["a"]).await;
        queue.publish(message("later").with_delay(SECOND)).await.unwrap();
        let held = take(&queue).await;
        store.time.set_wall(aqueduct_core::Timestamp(0));
        assert!(queue.try_reserve().await.unwrap().is_none());
        store.time.set_wall(aqueduct_core::Timestamp(4_000_000_000_000));
        assert!(queue.try_reserve().await.unwrap().is_none());
        held.ack().await.unwrap();
        store.time.advance(SECOND);
        assert_eq!(drain(&queue).await, ["later"]);
    }
}
