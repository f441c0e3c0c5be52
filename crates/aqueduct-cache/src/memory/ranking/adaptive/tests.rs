use super::{Adaptive, RESTS_AFTER, Role};
use crate::memory::nodes::{List, Nodes};
use crate::memory::ranking::Choice;

/// What the miniatures were asked when each of so many entries was asked for once in each of so many rounds.
fn asked(adaptive: &mut Adaptive, nodes: &Nodes<()>, rounds: u32) -> u32 {
    let mut asked = 0;
    for _ in 0..rounds {
        for hash in 0..ENTRIES {
            adaptive.seen(nodes, hash);
            // At the end of a round what was counted is given away.
            let round = adaptive.chooser.as_ref().map(|chooser| chooser.round.lock().expect("nobody panics"));
            let now = round.map_or(0, |round| round.counts.asked);
            asked = asked.max(now);
        }
    }
    asked
}

const ENTRIES: u32 = 1_000;

#[test]
fn the_miniatures_rest_while_nothing_is_evicted() {
    let mut adaptive = Adaptive::new(ENTRIES.into(), Role::Leads(Choice::new(1), 7));
    let mut nodes = Nodes::new();
    for hash in 0..ENTRIES {
        nodes.grow(ENTRIES.into());
        nodes.push((), hash, 1, List::First);
    }
    assert!(asked(&mut adaptive, &nodes, RESTS_AFTER + 1) > 0);
    assert_eq!(asked(&mut adaptive, &nodes, 1), 0);
    adaptive.victim(&mut nodes, 1);
    assert!(asked(&mut adaptive, &nodes, RESTS_AFTER + 1) > 0);
    assert_eq!(asked(&mut adaptive, &nodes, 1), 0);
}
