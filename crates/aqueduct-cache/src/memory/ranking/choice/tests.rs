use super::{Choice, Counts, SHARES};

/// What one shard hit in a round, in thousandths of what was asked for.
type Round = [u32; SHARES.len()];

/// The share that is chosen when so many have asked in each of these rounds.
fn chosen(rounds: impl IntoIterator<Item = Round>) -> f64 {
    let choice = Choice::new(1);
    for round in rounds {
        choice.add(&Counts { asked: 2_200, hits: round.map(|hits| hits * 22 / 10) });
    }
    SHARES[choice.at()]
}

/// Recorded on a trace of a disk. In the fifth round, when a scan came by, the larger windows fell behind, and the smallest one
/// was first by 1.8 points: it was taken, and the run ended 5 points below LRU.
const DISK: [Round; 5] = [
    [320, 305, 287, 245, 179, 330, 339, 336],
    [532, 493, 481, 473, 510, 574, 612, 653],
    [688, 687, 678, 716, 722, 719, 720, 712],
    [633, 622, 633, 625, 634, 657, 649, 640],
    [540, 529, 527, 517, 500, 435, 365, 300],
];

#[test]
fn one_phase_does_not_lead_away_from_what_is_close_to_lru() {
    is(1.0, chosen(DISK[..4].iter().copied()));
    is(1.0, chosen(DISK));
}

#[test]
fn goes_no_further_than_to_the_nearest_that_is_as_good() {
    is(0.4, chosen([[500, 505, 510, 520, 530, 538, 540, 541]]));
}

#[test]
fn windows_next_to_each_other_are_told_apart_by_less() {
    is(0.05, chosen([[500, 510, 505, 500, 495, 490, 485, 480]]));
    is(0.01, chosen([[500, 500, 500, 500, 500, 500, 500, 510]]));
}

#[test]
fn a_smaller_window_has_to_be_better_by_more() {
    let larger = [500, 500, 500, 500, 500, 500, 500, 520];
    is(1.0, chosen([larger]));
    let then = |smaller: Round| chosen([larger].into_iter().chain([smaller; 20]));
    is(1.0, then([520, 520, 520, 520, 520, 520, 520, 500]));
    is(0.8, then([540, 540, 540, 540, 540, 540, 540, 500]));
}

#[expect(clippy::float_cmp, reason = "both are from the table, as they are there")]
fn is(expected: f64, chosen: f64) {
    assert_eq!(chosen, expected);
}
