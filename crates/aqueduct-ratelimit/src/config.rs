use crate::algorithm::Algorithm;
use crate::quota::Quota;

/// How a limiter behaves: a quota, and how use is counted.
///
/// The default is a token bucket of 100 in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub(crate) quota: Quota,
    pub(crate) algorithm: Algorithm,
}

impl Config {
    /// A token bucket with this quota.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self { quota, algorithm: Algorithm::TokenBucket }
    }

    /// Counts another way. Default: [`Algorithm::TokenBucket`].
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }
}
