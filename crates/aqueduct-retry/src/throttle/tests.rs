//! The figures of the AWS SDK for Rust: smithy-lang/smithy-rs, rust-runtime/aws-smithy-runtime/src/client/retries/
//! client_rate_limiter.rs, tests of its module (Apache-2.0), restated. They come from aws-sdk-go-v2 there.

use std::time::Duration;

use aqueduct_core::Instant;

use super::{Answer, Cubic, grown, shrunk};

fn near(seen: f64, expected: f64, row: impl std::fmt::Debug) {
    assert!((seen - expected).abs() < 1e-9, "{row:?}: {seen} is not {expected}");
}

/// Seconds since the rate of 10 was too much, and the rate then.
#[test]
fn the_rate_grows_along_the_curve_of_the_sdk() {
    let rows = [
        (0, 7.0),
        (1, 9.648_936_009_66),
        (2, 10.000_030_849_917_364),
        (3, 10.453_284_520_772_092),
        (4, 13.408_697_022_224_185),
        (5, 21.266_268_354_273_64),
        (6, 36.425_998_516_920_465),
    ];
    for (seconds, expected) in rows {
        near(grown(10.0, Duration::from_secs(seconds)), expected, seconds);
    }
}

/// Seconds, whether the other side throttled, and the rate then. It was 10 at 5 s.
#[test]
fn the_rate_falls_with_each_throttle_as_in_the_sdk() {
    let rows = [
        (5, false, 7.0),
        (6, false, 9.648_936_009_66),
        (7, true, 6.754_255_206_761_999),
        (8, true, 4.727_978_644_733_399),
        (9, false, 4.670_125_557_970_046),
        (10, false, 4.770_870_456_867_401),
        (11, false, 6.011_819_748_005_445),
        (12, false, 10.792_973_431_384_178),
    ];
    let (mut rate_max, mut at, mut rate) = (10.0, 5, 0.0);
    for (seconds, throttled, expected) in rows {
        if throttled {
            rate = shrunk(rate);
            (rate_max, at) = (rate, seconds);
        } else {
            rate = grown(rate_max, Duration::from_secs(seconds - at));
        }
        near(rate, expected, seconds);
    }
}

/// An answer each 200 ms: whether it throttled, the measured rate, and the rate that calls may have.
#[test]
fn answers_give_the_rates_of_the_sdk() {
    let rows = [
        (false, 0.0, 0.5),
        (false, 0.0, 0.5),
        (false, 4.8, 0.5),
        (false, 4.8, 0.5),
        (false, 4.16, 0.5),
        (false, 4.16, 0.691_2),
        (false, 4.16, 1.097_6),
        (false, 5.632, 1.638_4),
        (false, 5.632, 2.332_8),
        (true, 4.326_4, 3.028_48),
        (false, 4.326_4, 3.486_639_173_470_26),
        (false, 4.326_4, 3.821_874_416_040_255),
        (false, 5.665_28, 4.053_385_727_709_987),
        (false, 5.665_28, 4.200_373_108_479_454),
        (false, 4.333_056, 4.282_036_558_348_658),
        (true, 4.333_056, 2.997_425_590_844_06),
        (false, 4.333_056, 3.452_226_394_386_346_3),
    ];
    let mut cubic = Cubic::new(Instant::ZERO);
    let mut now = Instant::ZERO;
    for (row, (throttled, measured, rate)) in rows.into_iter().enumerate() {
        now = now.after(Duration::from_millis(200));
        cubic.report(now, if throttled { Answer::Throttled } else { Answer::Taken });
        near(cubic.sent_rate(), measured, (row, "measured"));
        near(cubic.rate, rate, (row, "rate"));
        assert_eq!(cubic.rate().is_some(), row >= 9, "it is on from the first throttle on");
    }
}
