use std::collections::VecDeque;

use proptest::prelude::*;

use super::{List, Nodes};
use crate::memory::index::TOUCHED_MAX;

/// What a table does, and the same said plainly.
#[derive(Clone, Debug)]
enum Step {
    Push(u32, List, u32),
    Remove(usize),
    Touch(usize, u8),
    PutInFront(usize, List),
    SetWeight(usize, u32),
}

#[derive(Debug)]
struct Entry {
    hash: u32,
    id: u32,
    touched: u8,
    weight: u32,
}

const LISTS: [List; 3] = [List::First, List::Second, List::Third];

fn list() -> impl Strategy<Value = List> {
    prop::sample::select(LISTS.to_vec())
}

/// Many entries belong to one group, the last group among them, and some have the same hash.
fn hash() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..4, (u32::MAX - 20)..=u32::MAX, any::<u32>()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (hash(), list(), 1_u32..4).prop_map(|(hash, list, weight)| Step::Push(hash, list, weight)),
        3 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), 0_u8..=TOUCHED_MAX).prop_map(|(at, max)| Step::Touch(at, max)),
        2 => (any::<usize>(), list()).prop_map(|(at, list)| Step::PutInFront(at, list)),
        1 => (any::<usize>(), 1_u32..4).prop_map(|(at, weight)| Step::SetWeight(at, weight)),
    ]
}

/// The list and the place in it of the entry that a number stands for.
fn choose(model: &[VecDeque<Entry>; 3], number: usize) -> Option<(usize, usize)> {
    let places: Vec<_> = (0..3).flat_map(|list| (0..model[list].len()).map(move |at| (list, at))).collect();
    (!places.is_empty()).then(|| places[number % places.len()])
}

fn find(nodes: &Nodes<u32>, entry: &Entry) -> Option<u32> {
    nodes.find(entry.hash, |id| *id == entry.id)
}

proptest! {
    #[test]
    fn a_table_is_as_its_model(steps in prop::collection::vec(step(), 1..400)) {
        let mut nodes = Nodes::new();
        let mut model: [VecDeque<Entry>; 3] = Default::default();
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Push(hash, list, weight) => {
                    nodes.grow(400);
                    prop_assert!(nodes.push(id, hash, weight, list).is_some());
                    model[list as usize].push_front(Entry { hash, id, touched: 0, weight });
                }
                Step::Remove(number) => {
                    let Some((list, at)) = choose(&model, number) else { continue };
                    let entry = model[list].remove(at).expect("it was chosen");
                    let place = find(&nodes, &entry).expect("it is there");
                    prop_assert_eq!(nodes.remove(place), Some(entry.id));
                    prop_assert_eq!(find(&nodes, &entry), None);
                }
                Step::Touch(number, max) => {
                    let Some((list, at)) = choose(&model, number) else { continue };
                    let entry = &mut model[list][at];
                    nodes.touch(find(&nodes, entry).expect("it is there"), max);
                    entry.touched += u8::from(entry.touched < max);
                }
                Step::PutInFront(number, to) => {
                    let Some((list, at)) = choose(&model, number) else { continue };
                    let entry = model[list].remove(at).expect("it was chosen");
                    nodes.put_in_front(find(&nodes, &entry).expect("it is there"), to);
                    model[to as usize].push_front(entry);
                }
                Step::SetWeight(number, weight) => {
                    let Some((list, at)) = choose(&model, number) else { continue };
                    let entry = &mut model[list][at];
                    nodes.set_weight(find(&nodes, entry).expect("it is there"), weight);
                    entry.weight = weight;
                }
            }
            for (list, entries) in LISTS.into_iter().zip(&model) {
                let order = std::iter::successors(nodes.tail(list), |&at| nodes.before(at));
                let seen: Vec<_> = order
                    .map(|at| (nodes.hash(at), nodes.get(at).map(|node| node.carried), nodes.touched(at)))
                    .collect();
                let wanted: Vec<_> =
                    entries.iter().rev().map(|entry| (entry.hash, Some(entry.id), entry.touched)).collect();
                prop_assert_eq!(seen, wanted);
                let weight: u64 = entries.iter().map(|entry| u64::from(entry.weight)).sum();
                prop_assert_eq!((nodes.list_len(list), nodes.list_weight(list)), (entries.len(), weight));
            }
            prop_assert_eq!(nodes.len(), model.iter().map(VecDeque::len).sum::<usize>());
        }
    }
}

#[test]
fn a_group_that_was_passed_by_more_than_it_counts_still_finds_all() {
    let mut nodes = Nodes::new();
    let count = 600_u32;
    // All belong to the first group.
    for id in 0..count {
        nodes.grow(count.into());
        nodes.push(id, 0, 1, List::First).expect("there is room");
    }
    for gone in 0..count {
        let place = nodes.find(0, |id| *id == gone).expect("it is there");
        assert_eq!(nodes.remove(place), Some(gone));
        assert!(nodes.find(0, |id| *id == gone).is_none());
        let left = gone + 1..count;
        assert!(
            left.clone()
                .step_by(50)
                .chain(left.last())
                .all(|id| nodes.find(0, |found| *found == id).is_some())
        );
    }
    assert!(nodes.find(0, |_| true).is_none());
}

#[test]
fn a_full_table_has_no_more_places_than_its_entries_need() {
    let mut nodes = Nodes::new();
    for id in 0..10_000_u32 {
        nodes.grow(10_000);
        nodes.push((), id.wrapping_mul(0x9E37_79B9), 1, List::First).expect("there is room");
    }
    assert_eq!((nodes.len(), nodes.places()), (10_000, 12_504));
}
