use aqueduct_queue::{Config, DeclareError, Pattern, Topic};

use crate::store::{drain, message, on_every_backend, take};

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

on_every_backend! {
    async fn each_group_gets_its_own_copy_of_what_its_pattern_takes(store) {
        let config = Config::builder()
            .group("billing", pattern("orders.*.paid"))
            .group("audit", pattern("orders.>"))
            .group("everything", Pattern::all());
        let queue = store.queue_with(config.build().unwrap()).await;
        let topic = |text: &str| Topic::new(text).unwrap();
        let receipt = queue.publish(message("1").with_topic(topic("orders.eu.paid"))).await.unwrap();
        assert_eq!(receipt.copies, 3);
        let receipt = queue.publish(message("2").with_topic(topic("orders.eu"))).await.unwrap();
        assert_eq!(receipt.copies, 2);
        queue.publish(message("3")).await.unwrap();
        assert_eq!(queue.group_name(), "billing");
        // What one group does is nothing to another.
        take(&queue).await.dead_letter("no").await.unwrap();
        assert_eq!(drain(&queue).await, [""; 0]);
        assert_eq!(drain(&queue.group("audit")).await, ["1", "2"]);
        assert_eq!(drain(&queue.group("everything")).await, ["1", "2", "3"]);
        assert_eq!(store.queues.list().await.unwrap(), [(
            "work".to_owned(),
            vec!["billing".to_owned(), "audit".to_owned(), "everything".to_owned()],
        )]);
    }

    async fn a_group_that_is_added_gets_what_comes_from_then_on(store) {
        let queue = store.queue().await;
        queue.publish(message("1")).await.unwrap();
        let config = Config::builder().group("default", Pattern::all()).group("late", Pattern::all());
        let queue = store.queue_with(config.build().unwrap()).await;
        queue.publish(message("2")).await.unwrap();
        assert_eq!(drain(&queue).await, ["1", "2"]);
        assert_eq!(drain(&queue.group("late")).await, ["2"]);
    }

    async fn a_group_cannot_change_what_it_takes(store) {
        store.queue_with(Config::builder().group("a", pattern("x")).build().unwrap()).await;
        let other = Config::builder().group("a", pattern("y")).build().unwrap();
        let error = store.queues.declare("work", other).await.unwrap_err();
        assert!(matches!(&error, DeclareError::OtherPattern { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "group a of queue work takes x, and not y; remove the group first, or name another one"
        );
    }

    async fn a_full_group_holds_the_others_back(store) {
        let config = Config::builder().items_max(1).group("a", Pattern::all()).group("b", Pattern::all());
        let queue = store.queue_with(config.build().unwrap()).await;
        queue.publish(message("1")).await.unwrap();
        assert_eq!(drain(&queue).await, ["1"]);
        assert!(queue.try_publish(message("2")).await.is_err());
        assert_eq!(drain(&queue.group("b")).await, ["1"]);
        queue.try_publish(message("2")).await.unwrap();
    }
}

#[test]
fn a_pattern_takes_what_its_words_say() {
    let check = |pattern: &str, topic: &str, takes: bool| {
        let topic = Topic::new(topic).unwrap();
        assert_eq!(Pattern::new(pattern).unwrap().matches(Some(&topic)), takes, "{pattern} {topic}");
    };
    check("a", "a", true);
    check("a", "a.b", false);
    check("a.b", "a", false);
    check("*", "a", true);
    check("*", "a.b", false);
    check("a.*.c", "a.b.c", true);
    check("a.*.c", "a.b.d", false);
    check("a.>", "a", false);
    check("a.>", "a.b", true);
    check("a.>", "a.b.c", true);
    check(">", "a.b", true);
    assert!(Pattern::all().matches(None));
    assert!(!Pattern::new("*").unwrap().matches(None));
}

#[test]
fn what_is_no_topic_or_pattern_is_refused() {
    for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a.*", "a.>", "a\n", &"x".repeat(256)] {
        assert!(Topic::new(wrong).is_err(), "{wrong:?}");
    }
    for wrong in ["", "a..b", "a*", "a.>.b", ">x", "a b", &"x".repeat(256)] {
        assert!(Pattern::new(wrong).is_err(), "{wrong:?}");
    }
}
