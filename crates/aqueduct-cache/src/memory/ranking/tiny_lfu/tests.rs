use super::{TinyLfu, WINDOW};
use crate::memory::nodes::Nodes;

/// A full cache of 100, of hashes from nought on.
fn full(share: f64) -> (TinyLfu, Nodes<()>) {
    let (mut order, mut nodes) = (TinyLfu::new(100, share), Nodes::new());
    for hash in 0..100 {
        insert(&mut order, &mut nodes, hash);
    }
    (order, nodes)
}

fn insert(order: &mut TinyLfu, nodes: &mut Nodes<()>, hash: u32) {
    order.missed(hash);
    while nodes.len() >= 100 {
        let victim = order.victim(nodes, 1).expect("somebody is there");
        nodes.remove(victim);
    }
    let list = order.list_for(nodes, 1);
    nodes.grow(100);
    nodes.push((), hash, 1, list);
}

fn place(nodes: &Nodes<()>, hash: u32) -> Option<u32> {
    nodes.iter().find(|(_, node)| node.hash == hash).map(|(at, _)| at)
}

#[test]
fn what_is_asked_for_goes_along_into_a_window_that_grows() {
    let (mut order, mut nodes) = full(0.01);
    order.set_share(1.0);
    for new in [1_000..1_060, 2_000..2_040] {
        for hash in 0..40 {
            let at = place(&nodes, hash).expect("it is there");
            nodes.touch(at, 1);
        }
        new.for_each(|hash| insert(&mut order, &mut nodes, hash));
    }
    // All others were asked for never. Of many in a row that were asked for one leaves now and then, as in any window.
    let kept = (0..40).filter(|hash| place(&nodes, *hash).is_some()).count();
    assert!(kept >= 30, "{kept}");
}

#[test]
fn a_window_that_shrinks_does_so_bit_by_bit() {
    let (mut order, mut nodes) = full(1.0);
    assert_eq!(nodes.list_len(WINDOW), 100);
    order.set_share(0.01);
    let mut before = 100;
    for hash in 1_000..1_100 {
        insert(&mut order, &mut nodes, hash);
        let now = nodes.list_len(WINDOW);
        assert!(before - now <= 5, "{before}, then {now}");
        before = now;
    }
    assert_eq!(before, 1);
}
