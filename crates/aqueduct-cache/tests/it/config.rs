use aqueduct_cache::{Builder, Config, Memory};

fn refused(builder: Builder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn what_cannot_be_is_refused_with_its_range() {
    let builder = Config::builder;
    assert_eq!(refused(builder().capacity(0)), "capacity is 0, allowed is 1 to 281474976710656");
    assert_eq!(refused(builder().ttl_jitter(1.5)), "ttl_jitter is 1.5, allowed is 0.0 to 1.0");
    assert_eq!(refused(builder().ttl_jitter(f64::NAN)), "ttl_jitter is NaN, allowed is 0.0 to 1.0");
    assert_eq!(refused(builder().shards(0)), "shards is 0, allowed is 1 to 1024");
    let cache: Memory<u8, u8> = Memory::new(Config::default());
    assert_eq!(cache.set_capacity(0).unwrap_err().field, "capacity");
    assert_eq!(cache.stats().capacity, 1_000, "nothing has changed");
}

#[test]
fn the_parts_have_the_whole_capacity_between_them() {
    for (capacity, shards) in [(1, 1), (7, 8), (1_000, 8), (1_001, 16), (100_000, 1_000)] {
        let cache: Memory<u32, u32> =
            Memory::new(Config::builder().capacity(capacity).shards(shards).build().unwrap());
        assert_eq!(cache.stats().capacity, capacity, "{shards} parts");
        cache.set_capacity(capacity * 3).unwrap();
        assert_eq!(cache.stats().capacity, capacity * 3);
    }
}
