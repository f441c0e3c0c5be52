//! The set of finished numbers against a plain one.

use std::collections::BTreeSet;

use aqueduct_batch::{FinishedError, FinishedSet};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    One(u64),
    Range(u64, u64),
    Merge(Vec<u64>),
    Reopen,
}

/// Numbers around the beginning, around the ends of stretches of 65,536 and of 2^32, and nowhere else, so that they meet.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..64, 65_500_u64..65_570, (1_u64 << 32) - 20..(1 << 32) + 20]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => number().prop_map(Step::One),
        3 => (0_u64..70_000, 0_u64..70).prop_map(|(from, count)| Step::Range(from, from + count)),
        1 => (0_u64..64, 65_000_u64..66_000).prop_map(|(from, to)| Step::Range(from, to)),
        1 => prop::collection::vec(number(), 0..20).prop_map(Step::Merge),
        1 => Just(Step::Reopen),
    ]
}

/// The first number that is not there.
fn frontier(model: &BTreeSet<u64>) -> u64 {
    (0..).find(|n| !model.contains(n)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_says_what_a_plain_set_says(steps in prop::collection::vec(step(), 1..60)) {
        let (mut set, mut model) = (FinishedSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::One(n) => prop_assert_eq!(set.insert(n), model.insert(n)),
                Step::Range(from, to) => {
                    let new = (from..to).filter(|n| model.insert(*n)).count();
                    prop_assert_eq!(set.insert_range(from..to), new as u64);
                }
                Step::Merge(numbers) => {
                    let mut other = FinishedSet::new();
                    for n in &numbers {
                        other.insert(*n);
                    }
                    set.merge(&other);
                    model.extend(numbers);
                }
                Step::Reopen => set = FinishedSet::decode(&set.encode()).unwrap(),
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.frontier(), frontier(&model));
        }
        for n in (0..130).chain(65_400..65_700).chain((1 << 32) - 30..(1 << 32) + 30) {
            prop_assert_eq!(set.contains(n), model.contains(&n), "{}", n);
        }
        let end = 66_100;
        let missing: BTreeSet<u64> = set.unfinished(end).flatten().collect();
        let expected: BTreeSet<u64> = (0..end).filter(|n| !model.contains(n)).collect();
        prop_assert_eq!(missing, expected);
        let ranges: Vec<_> = set.unfinished(end).collect();
        prop_assert!(ranges.windows(2).all(|two| two[0].end < two[1].start), "{:?}", ranges);
    }

    #[test]
    fn no_damage_is_read_as_work_that_is_done(at in 0_usize..10_000, bit in 0_u32..8) {
        let mut set = FinishedSet::new();
        set.insert_range(0..1000);
        for n in 0..500 {
            set.insert(2000 + 3 * n);
        }
        let mut bytes = set.encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let damaged = matches!(FinishedSet::decode(&bytes), Err(FinishedError::Checksum { .. }));
        prop_assert!(damaged);
        bytes.truncate(at);
        prop_assert!(FinishedSet::decode(&bytes).is_err());
    }
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let mut bytes = FinishedSet::new().encode();
    bytes.truncate(bytes.len() - 4);
    bytes[0] = 2;
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_le_bytes());
    let error = FinishedSet::decode(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "the set of finished numbers has format 2, and this aqueduct reads 1");
}

#[test]
fn the_last_number_there_is_can_be_finished() {
    let mut set = FinishedSet::new();
    assert!(set.insert(u64::MAX));
    assert!(!set.insert(u64::MAX));
    set.insert_range(0..u64::MAX);
    assert_eq!(set.frontier(), u64::MAX);
    assert!(set.contains(u64::MAX));
    assert_eq!(FinishedSet::decode(&set.encode()).unwrap(), set);
}

/// 64 workers with ranges of their own, four with alternating chunks, and one from the end to the beginning.
#[test]
fn order_workers_and_layout_make_no_difference() {
    let count = 640_000_u64;
    let layouts: [Vec<(u64, u64)>; 3] = [
        (0..10_000).flat_map(|at| (0..64).map(move |worker| (worker * 10_000 + at, 1))).collect(),
        (0..4).flat_map(|worker| (0..count / 200).map(move |at| ((at * 4 + worker) * 50, 50))).collect(),
        (0..count / 50).rev().map(|at| (at * 50, 50)).collect(),
    ];
    let sets = layouts.map(|layout| {
        let mut set = FinishedSet::new();
        for n in layout.into_iter().flat_map(|(from, length)| from..from + length) {
            // Some never finish.
            if n % 9973 != 7 {
                set.insert(n);
            }
        }
        set
    });
    assert!(sets.windows(2).all(|two| two[0] == two[1] && two[0].encode() == two[1].encode()));
    assert_eq!((sets[0].frontier(), sets[0].len()), (7, count - 65));
    assert!(sets[0].encode().len() < 600, "{}", sets[0].encode().len());
}
