//! The fifteen rows of redis-cell (github.com/brandur/redis-cell, src/cell/mod.rs, `it_rate_limits`, MIT), which has them from
//! Go's throttled: five at once, one a second.

use std::time::Duration;

use aqueduct_core::Instant;
use aqueduct_ratelimit::{Algorithm, Limit, Quota, Reason};

/// When in milliseconds, how many are asked for, how many are left afterwards, milliseconds until all are back, and
/// milliseconds to wait where it is refused: `None` where it is given, `Some(None)` where it never is.
type Row = (u64, u64, u64, u64, Option<Option<u64>>);

const ROWS: [Row; 15] = [
    // More than there ever are.
    (0, 6, 5, 0, Some(None)),
    // One after the other until there are none.
    (0, 1, 4, 1_000, None),
    (0, 1, 3, 2_000, None),
    (0, 1, 2, 3_000, None),
    (0, 1, 1, 4_000, None),
    (0, 1, 0, 5_000, None),
    (0, 1, 0, 5_000, Some(Some(1_000))),
    // They come back evenly.
    (3_000, 1, 2, 3_000, None),
    (3_100, 1, 1, 3_900, None),
    (4_000, 1, 1, 4_000, None),
    (8_000, 1, 4, 1_000, None),
    (9_500, 1, 4, 1_000, None),
    // A look.
    (9_500, 0, 4, 1_000, None),
    // Several at once, and too many of what there is.
    (9_500, 2, 2, 3_000, None),
    (9_500, 5, 2, 3_000, Some(Some(3_000))),
];

#[test]
fn every_row_of_redis_cell_comes_out() {
    let quota = Quota::per_second(1).and_then(|quota| quota.with_burst(5)).expect("it is within the ranges");
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        let mut limit = Limit::new(quota, algorithm).expect("buckets go with every quota");
        for (number, (at, tokens, remaining, reset_after, refused)) in ROWS.into_iter().enumerate() {
            let now = Instant::ZERO.after(Duration::from_millis(at));
            let given = limit.check(now, tokens);
            assert_eq!(given.is_err(), refused.is_some(), "row {number}: {given:?}");
            if let (Err(denied), Some(wait)) = (given, refused) {
                assert_eq!(denied.retry_after, wait.map(Duration::from_millis), "row {number}");
                assert_eq!(denied.reason == Reason::TooLarge, wait.is_none(), "row {number}");
            }
            // A refusal has changed nothing, so a look afterwards sees what the row says in every case.
            let left = limit.peek(now, 0).expect("a look is never refused");
            assert_eq!(left.remaining(), remaining, "row {number}");
            assert_eq!(left.reset_after(), Duration::from_millis(reset_after), "row {number}");
        }
    }
}
