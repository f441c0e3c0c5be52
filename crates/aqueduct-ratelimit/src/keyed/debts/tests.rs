use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Spreads small numbers over all bits.
fn hash(key: u64) -> u64 {
    let mixed = key.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

proptest! {
    #[test]
    fn a_debt_is_found_until_it_is_over_whatever_else_is_put(
        steps in proptest::collection::vec((0..400_u64, 0..4_u32, 0..1_u64 << 50, 0..1_u64 << 40), 1..600),
    ) {
        let mut debts = Debts::new(24);
        let mut model: HashMap<u64, u64> = HashMap::new();
        let mut now = 0;
        for (key, what, owed, pause) in steps {
            now += pause;
            if what == 0 {
                // Half of everything, as of another quota.
                let half = |tat: u64| now + tat.saturating_sub(now) / 2;
                debts.rescale(now, half);
                model.values_mut().for_each(|tat| *tat = half(*tat));
            } else {
                debts.put(hash(key), now + owed, now);
                let tat = model.entry(key).or_default();
                *tat = (*tat).max(now + owed);
            }
            for (key, tat) in &model {
                let found = debts.find(hash(*key), now);
                prop_assert!(*tat <= now || found >= *tat, "{found} for {tat} at {now}");
            }
        }
    }
}

#[test]
fn a_debt_of_less_than_18_minutes_is_kept_to_the_nanosecond() {
    let mut debts = Debts::new(1_000);
    let now = 1_234_567_890_123_456_789;
    debts.put(hash(1), now + 1_000_000_000_001, now);
    assert_eq!(debts.find(hash(1), now), now + 1_000_000_000_001);
    // A longer one makes all of them a little longer, and never shorter.
    let day = 86_400_000_000_001;
    debts.put(hash(2), now + day, now);
    for (key, owed) in [(1, 1_000_000_000_001), (2, day)] {
        let found = debts.find(hash(key), now) - now;
        assert!((owed..owed + 128).contains(&found), "{found} for {owed}");
    }
}

#[test]
fn with_as_many_debts_as_places_few_newcomers_find_one_of_another() {
    let keys = 10_000;
    let mut debts = Debts::new(keys);
    for key in 0..2 * keys as u64 {
        debts.put(hash(key), 1_000, 0);
    }
    let newcomers = 10_000;
    let found = (0..newcomers).filter(|key| debts.find(hash(1_000_000 + key), 0) > 0).count();
    assert!(found < 500, "{found} of {newcomers}");
}
