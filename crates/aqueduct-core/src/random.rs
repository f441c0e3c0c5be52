/// A seeded source of chance. The same seed gives the same numbers, so a failing run can be replayed.
///
/// It is not for secrets.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// Starts the sequence that belongs to `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Gives a number in `0.0 <= x < 1.0`.
    pub fn unit(&mut self) -> f64 {
        self.0.f64()
    }

    /// Gives a number in `0 <= x < bound`, and 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.u64(..bound) }
    }
}
