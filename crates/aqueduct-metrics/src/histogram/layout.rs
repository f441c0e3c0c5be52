//! Which bucket a value belongs to: log-linear, as in HdrHistogram.
//!
//! With `p` bits of precision the values below `2^(p+1)` have a bucket each. Above, every doubling has `2^p`
//! buckets of equal width, so a bucket is never wider than its lowest value divided by `2^p`, and its middle is
//! within `1 / 2^(p+1)` of each of its values.

/// `p`. Six bits give quantiles within 1/128; one bit more doubles the memory and halves the error.
const PRECISION_BITS: u32 = 6;

/// `2^p`, the buckets of one doubling.
const PER_DOUBLING: u64 = 1 << PRECISION_BITS;

/// Enough for every `u64`: the values that have a bucket each, and the doublings from there to the end.
pub(super) const BUCKETS: usize = (1 << PRECISION_BITS) * (64 - PRECISION_BITS as usize + 1);

/// Gives the bucket of a value.
#[inline]
pub(super) fn index(value: u64) -> usize {
    // A value with p + 1 significant bits is its own bucket; a longer one loses the bits below them.
    let bits = u64::BITS - value.leading_zeros();
    let shift = bits.saturating_sub(PRECISION_BITS + 1);
    let bucket = u64::from(shift) * PER_DOUBLING + (value >> shift);
    // Below BUCKETS, so it fits any usize.
    usize::try_from(bucket).unwrap_or(BUCKETS - 1)
}

/// Gives the value that stands for a bucket: the middle one, the lower of two.
pub(super) fn middle(index: usize) -> u64 {
    let (low, high) = range(index);
    low + (high - low) / 2
}

/// Gives the lowest and the highest value of a bucket.
fn range(index: usize) -> (u64, u64) {
    let index = index as u64;
    let shift = (index / PER_DOUBLING).saturating_sub(1);
    let low = (index - shift * PER_DOUBLING) << shift;
    (low, low + ((1 << shift) - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_buckets_cover_every_value_once_and_in_order() {
        let mut next = 0_u64;
        for bucket in 0..BUCKETS {
            let (low, high) = range(bucket);
            assert_eq!(low, next, "bucket {bucket}");
            assert_eq!((index(low), index(high)), (bucket, bucket), "bucket {bucket}");
            next = high.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last bucket ends with the largest value");
    }

    proptest! {
        #[test]
        fn the_middle_of_a_bucket_is_within_the_stated_error(bits in 0..=64_u32, value: u64) {
            let value = value.checked_shr(bits).unwrap_or_default();
            let error = middle(index(value)).abs_diff(value);
            // Both sides times 128, in a type that holds it.
            prop_assert!(u128::from(error) * 128 <= u128::from(value), "{value} is off by {error}");
        }
    }
}
