//! Namespaces, tags, patterns and statistics.

use std::convert::Infallible;

use aqueduct_cache::{Cache, Namespace, NamespaceConfig, SetOptions};

fn space() -> Namespace<u64> {
    Cache::builder().build().in_memory("n", NamespaceConfig::default()).unwrap()
}

#[tokio::test]
async fn namespaces_know_nothing_of_each_other_and_their_names_are_their_own() {
    let cache = Cache::builder().build();
    let one = cache.in_memory::<u64>("one", NamespaceConfig::default()).unwrap();
    let other = cache.in_memory::<u64>("other", NamespaceConfig::default()).unwrap();
    one.set("k", 1).await;
    other.set("k", 2).await;
    one.invalidate_all().await;
    assert_eq!((one.get("k").await, other.get("k").await), (None, Some(2)));
    let error = cache.in_memory::<String>("one", NamespaceConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "namespace is one, allowed is a name that no other namespace of the cache has"
    );
    drop(one);
    assert!(cache.in_memory::<String>("one", NamespaceConfig::default()).is_ok());
}

#[tokio::test]
async fn a_tag_invalidates_what_carries_it_and_nothing_that_comes_later() {
    let space = space();
    space.set_with("a", 1, SetOptions::new().tags(&["x", "y"])).await;
    space.set_with("b", 2, SetOptions::new().tags(&["y"])).await;
    space.set("c", 3).await;
    space.invalidate_tag("x").await;
    assert_eq!(space.get_many(&["a", "b", "c"]).await, [None, Some(2), Some(3)]);
    space.set_with("a", 4, SetOptions::new().tags(&["x"])).await;
    assert_eq!(space.get("a").await, Some(4));
    space.invalidate_tag("y").await;
    assert_eq!(space.get_many(&["a", "b", "c"]).await, [Some(4), None, Some(3)]);
}

#[tokio::test]
async fn a_pattern_invalidates_the_keys_that_begin_so() {
    let space = space();
    let keys = ["aeo:1", "aeo:2", "aeo", "ae", "b"];
    for key in keys {
        space.set(key, 1).await;
    }
    space.invalidate_matching("aeo:*").await.unwrap();
    assert_eq!(space.get_many(&keys).await, [None, None, Some(1), Some(1), Some(1)]);
    space.invalidate_matching("ae*").await.unwrap();
    assert_eq!(space.get_many(&keys).await, [None, None, None, None, Some(1)]);
    space.set("aeo:1", 2).await;
    space.invalidate_matching("b").await.unwrap();
    assert_eq!(space.get_many(&keys).await, [Some(2), None, None, None, None]);
    space.invalidate_matching("*").await.unwrap();
    assert_eq!(space.get_many(&keys).await, [None; 5]);
    let error = space.invalidate_matching("a*b").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "use the pattern \"a*b\": it may have one * and that at its end, as in \"aeo:*\""
    );
}

#[tokio::test]
async fn more_tags_than_are_remembered_invalidate_more_and_never_less() {
    let space = space();
    space.set_with("a", 1, SetOptions::new().tags(&["kept"])).await;
    space.invalidate_tag("kept").await;
    for number in 0..30_000 {
        space.invalidate_tag(&format!("tag {number}")).await;
    }
    assert_eq!(space.get("a").await, None);
    space.set_with("b", 2, SetOptions::new().tags(&["tag 29999"])).await;
    assert_eq!(space.get("b").await, Some(2));
}

#[tokio::test]
async fn keys_are_any_bytes() {
    let space = space();
    let long = vec![b'x'; 1 << 16];
    let keys: [&[u8]; 5] = [b"", b"\0\xff\n", b"../../etc/passwd", "schl\u{fc}ssel".as_bytes(), &long];
    for (number, key) in (0..).zip(keys) {
        space.set(key, number).await;
    }
    assert_eq!(space.get_many(&keys).await, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    let longer = vec![b'x'; (1 << 16) + 1];
    space.set(&longer, 9).await;
    assert_eq!(space.get(&longer).await, None);
    assert_eq!(space.stats().rejections, 1);
    assert_eq!(space.get_with(&longer, || async { Ok::<_, Infallible>(9) }).await.unwrap(), 9);
}

#[tokio::test]
async fn statistics_have_the_names_and_the_shape_that_were_asked_for() {
    let cache = Cache::builder().build();
    let one = cache.in_memory::<u64>("one", NamespaceConfig::default()).unwrap();
    let other = cache.in_memory::<u64>("other", NamespaceConfig::default()).unwrap();
    one.set("k", 1).await;
    one.get("k").await;
    one.get("none").await;
    other.get("none").await;
    one.remove("k").await;
    let stats = serde_json::to_value(cache.stats()).unwrap();
    let wanted = [
        ("hits", 1.into()),
        ("misses", 2.into()),
        ("sets", 1.into()),
        ("deletes", 1.into()),
        ("total_requests", 3.into()),
        ("hit_rate_percent", 33.33.into()),
        ("layers", 1.into()),
    ];
    for (name, value) in wanted {
        let value: serde_json::Value = value;
        assert_eq!(stats[name], value, "{name}");
    }
    assert_eq!(stats["namespaces"]["one"]["hit_rate_percent"], 50.0);
    assert_eq!(stats["namespaces"]["other"]["misses"], 1);
}

#[tokio::test]
async fn a_value_takes_as_much_of_memory_as_was_said() {
    let config = NamespaceConfig::builder().capacity(10).shards(1).build().unwrap();
    let space = Cache::builder().build().in_memory::<u64>("n", config).unwrap();
    for key in ["a", "b", "c"] {
        space.set_with(key, 1, SetOptions::new().weight(5)).await;
    }
    assert_eq!(space.stats().entries, 2);
    space.set_with("d", 1, SetOptions::new().weight(11)).await;
    assert_eq!(space.get("d").await, None, "more than there is");
}
