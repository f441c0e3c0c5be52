use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What was seen, and whether it holds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    broken: Vec<String>,
}

/// Rounds in which both sides are measured one after the other. An odd number, so that there is a middle one.
const ROUNDS: usize = 31;
/// One side of a round takes about this long: enough to swallow the cost of reading the clock, short enough that a
/// neighbour's burst hits one round and not all.
const ROUND: Duration = Duration::from_millis(10);

impl Report {
    /// A defect: what the peer does, what ours does, and whether ours is right.
    pub(crate) fn defect(&mut self, name: &str, peer: &str, ours: &str, right: bool) {
        println!("{name}\n    peer: {peer}\n    ours: {ours}{}", if right { "" } else { "   <-- WRONG" });
        self.hold(name, right);
    }

    /// A figure without a bound.
    pub(crate) fn figure(&mut self, name: &str, figure: &str) {
        println!("{name}: {figure}");
    }

    /// Measures both in turns and holds ours to at most `most` times the peer's.
    pub(crate) fn ratio<A, B>(
        &mut self,
        name: &str,
        most: f64,
        ours: impl FnMut() -> A,
        peer: impl FnMut() -> B,
    ) {
        let seen = compare(ours, peer);
        let right = seen.ratio <= most;
        println!(
            "{name}: {:.2} x ({:.2} to {:.2}; {:.1} ns against {:.1} ns), at most {most:.2}{}",
            seen.ratio,
            seen.low,
            seen.high,
            seen.ours_ns,
            seen.peer_ns,
            if right { "" } else { "   <-- MISSED" },
        );
        self.hold(name, right);
    }

    /// Measures ours alone and holds its least time to so many nanoseconds.
    pub(crate) fn cost<A>(&mut self, name: &str, most_ns: f64, mut ours: impl FnMut() -> A) {
        let ns = cost(&mut ours);
        let right = ns <= most_ns;
        println!("{name}: {ns:.1} ns, at most {most_ns:.0}{}", if right { "" } else { "   <-- MISSED" });
        self.hold(name, right);
    }

    /// Holds a condition that was printed already.
    pub(crate) fn hold(&mut self, name: &str, right: bool) {
        if !right {
            self.broken.push(name.to_owned());
        }
    }

    pub(crate) fn end(self) -> ExitCode {
        if self.broken.is_empty() {
            println!("\neverything holds");
            return ExitCode::SUCCESS;
        }
        println!("\n{} did not hold: {}", self.broken.len(), self.broken.join("; "));
        ExitCode::FAILURE
    }
}

/// What a comparison in turns gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    /// The middle of the rounds' ratios, and the middle half of them.
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The least time of one call on each side.
    pub(crate) ours_ns: f64,
    pub(crate) peer_ns: f64,
}

/// Measures two sides in turns. A ratio is made within a round, so that what slows the machine slows both.
pub(crate) fn compare<A, B>(mut ours: impl FnMut() -> A, mut peer: impl FnMut() -> B) -> Compared {
    let (ours_calls, peer_calls) = (calls_a_round(&mut ours), calls_a_round(&mut peer));
    let mut rounds: Vec<(f64, f64)> =
        (0..ROUNDS).map(|_| (time(&mut ours, ours_calls), time(&mut peer, peer_calls))).collect();
    let least = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
    let ours_ns = least(rounds.iter().map(|round| round.0).collect());
    let peer_ns = least(rounds.iter().map(|round| round.1).collect());
    rounds.sort_by(|left, right| (left.0 / left.1).total_cmp(&(right.0 / right.1)));
    let at = |index: usize| rounds[index].0 / rounds[index].1;
    Compared { ratio: at(ROUNDS / 2), low: at(ROUNDS / 4), high: at(ROUNDS * 3 / 4), ours_ns, peer_ns }
}

/// The least time of one call, in nanoseconds.
pub(crate) fn cost<A>(mut work: impl FnMut() -> A) -> f64 {
    let calls = calls_a_round(&mut work);
    (0..ROUNDS).map(|_| time(&mut work, calls)).fold(f64::INFINITY, f64::min)
}

fn calls_a_round<T>(work: &mut impl FnMut() -> T) -> u64 {
    let mut calls = 1;
    loop {
        let taken = Duration::from_secs_f64(time(work, calls) * calls as f64 / 1e9);
        if taken >= ROUND / 2 {
            return calls.max(1);
        }
        calls *= 2;
    }
}

/// Nanoseconds a call.
fn time<T>(work: &mut impl FnMut() -> T, calls: u64) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed().as_secs_f64() * 1e9 / calls as f64
}
