//! One trait, one algorithm a file.

mod adaptive;
mod bounded_load;
mod ketama;
mod least_connections;
mod least_response_time;
mod maglev;
mod power_of_two;
mod random;
mod round_robin;
mod weighted_round_robin;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use aqueduct_core::Random;

use crate::config::Algorithm;
use crate::load::{Load, Moment, Tuning};

/// Chooses among the endpoints that it was made for. A change of them, or of their weights, makes a new one.
pub(crate) trait Strategy: fmt::Debug + Send + Sync {
    /// The index of one, or nothing where none is open.
    fn choose(&self, from: &dyn Candidates, ask: &mut Ask<'_>) -> Option<usize>;
}

/// The endpoints that a strategy was made for, by the index they had then.
pub(crate) trait Candidates {
    fn count(&self) -> usize;
    fn load(&self, index: usize) -> &Load;
    /// Always, but for strategies whose keys would move if an endpoint left for a while.
    fn is_open(&self, index: usize) -> bool;
    /// Calls under way at all endpoints, where the algorithm [counts](counts_all) them.
    fn in_flight(&self) -> usize;
    fn tuning(&self) -> &Tuning;
}

/// What is asked of a strategy.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) random: Random,
    pub(crate) now: Moment,
}

/// What a strategy is made from: one for each endpoint.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seat {
    pub(crate) name: Arc<str>,
    /// Above zero; slow start makes it a fraction.
    pub(crate) weight: f64,
}

/// Whether it puts keys into places, which must not move because an endpoint is not well.
pub(crate) fn places_keys(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Ketama | Algorithm::Maglev { .. } | Algorithm::BoundedLoad { .. })
}

/// Whether it must know how many calls are under way in all.
pub(crate) fn counts_all(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::BoundedLoad { .. })
}

/// `turn` goes on from strategy to strategy, so that round robin does not begin again when an endpoint leaves.
pub(crate) fn prepare(algorithm: Algorithm, seats: &[Seat], turn: &Arc<AtomicUsize>) -> Arc<dyn Strategy> {
    let weights: Vec<f64> = seats.iter().map(|seat| seat.weight).collect();
    let turn = Arc::clone(turn);
    match algorithm {
        Algorithm::RoundRobin => Arc::new(round_robin::RoundRobin::new(turn)),
        Algorithm::WeightedRoundRobin => {
            Arc::new(weighted_round_robin::WeightedRoundRobin::new(&weights, turn))
        }
        Algorithm::Random => Arc::new(random::Weighted::new(&weights)),
        Algorithm::LeastConnections { choices } => {
            Arc::new(least_connections::LeastConnections::new(&weights, choices))
        }
        Algorithm::LeastResponseTime => Arc::new(least_response_time::LeastResponseTime::new(&weights)),
        Algorithm::PowerOfTwo => Arc::new(power_of_two::PowerOfTwo::new(&weights)),
        Algorithm::Adaptive { hot_quantile } => Arc::new(adaptive::Adaptive::new(&weights, hot_quantile)),
        Algorithm::Ketama => Arc::new(ketama::Ring::new(seats)),
        Algorithm::Maglev { table } => Arc::new(maglev::Maglev::new(seats, table)),
        Algorithm::BoundedLoad { factor } => Arc::new(bounded_load::BoundedLoad::new(seats, factor)),
    }
}
