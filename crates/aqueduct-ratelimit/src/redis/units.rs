use crate::quota::Quota;

/// Lua's numbers are doubles, and whole ones are exact up to here.
const EXACT_MAX: u128 = 1 << 53;

/// A quota in the whole numbers of the script: what a token is, what a microsecond brings, and what fills the bucket.
///
/// With tokens and microseconds of the quota reduced by their greatest common divisor, a token is as many units as there
/// are microseconds, and a microsecond brings as many as there are tokens. Nothing is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Units {
    pub(super) token: u64,
    pub(super) rate: u64,
    pub(super) full: u64,
}

impl Units {
    /// `None` where the numbers are too large to be exact.
    pub(super) fn of(quota: &Quota) -> Option<Self> {
        let micros = u64::try_from(quota.per().as_micros()).ok()?;
        let common = gcd(quota.tokens(), micros);
        let (rate, token) = (quota.tokens() / common, micros / common);
        let full = u128::from(token) * u128::from(quota.burst());
        // A step of the script adds at most one microsecond's units to a full bucket.
        (full + u128::from(rate) <= EXACT_MAX).then_some(Self {
            token,
            rate,
            full: u64::try_from(full).ok()?,
        })
    }
}

fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn nothing_is_rounded() {
        let units = |tokens, micros, burst| {
            let quota =
                Quota::new(tokens, Duration::from_micros(micros)).and_then(|quota| quota.with_burst(burst));
            Units::of(&quota.expect("it is within the ranges"))
        };
        assert_eq!(units(10, 1_000_000, 10), Some(Units { token: 100_000, rate: 1, full: 1_000_000 }));
        assert_eq!(units(3, 1_000_000, 2), Some(Units { token: 1_000_000, rate: 3, full: 2_000_000 }));
        assert_eq!(units(1, 86_400_000_000, 50_000).map(|units| units.full), Some(4_320_000_000_000_000));
        assert_eq!(units(7, 86_400_000_000, 300_000), None, "it would not be exact");
        assert_eq!(units(5_000_000, 1_000_000, 5), Some(Units { token: 1, rate: 5, full: 5 }));
    }
}
