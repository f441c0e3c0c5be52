use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_retry::{Builder, Growth, Jitter, Schedule};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

fn refused(builder: Builder, message: &str) {
    let error = builder.build().expect_err("the builder is wrong");
    assert_eq!(error.to_string(), message);
    assert_eq!(error.class(), ErrorClass::Invalid);
}

#[test]
fn a_delay_outside_its_range_is_refused_with_field_value_and_range() {
    let first = Duration::ZERO;
    refused(Schedule::builder(Growth::Linear { first }), "first is 0ns, allowed is 1ns to 10s");
    refused(Schedule::builder(Growth::Decorrelated { first }), "first is 0ns, allowed is 1ns to 10s");
    refused(
        Schedule::builder(Growth::Exponential { first: 11 * SECOND, factor: 2.0 }),
        "first is 11s, allowed is 1ns to 10s",
    );
    refused(
        Schedule::builder(Growth::Constant { delay: 11 * SECOND }),
        "delay is 11s, allowed is 0ns to 10s",
    );
    refused(Builder::default().delay_max(2 * DAY), "delay_max is 172800s, allowed is 1ns to 86400s");
    refused(Builder::default().delay_max(Duration::ZERO), "delay_max is 0ns, allowed is 1ns to 86400s");
    refused(Builder::default().elapsed_max(Duration::ZERO), "elapsed_max is 0ns, allowed is 1ns to 2592000s");
    refused(
        Builder::default().retry_after_max(DAY + SECOND),
        "retry_after_max is 86401s, allowed is 0ns to 86400s",
    );
    refused(Builder::default().elapsed_max(31 * DAY), "elapsed_max is 2678400s, allowed is 1ns to 2592000s");
}

#[test]
fn a_factor_that_does_not_grow_or_is_no_number_is_refused() {
    for (factor, shown) in
        [(0.5, "0.5"), (-2.0, "-2"), (100.5, "100.5"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")]
    {
        let growth = Growth::Exponential { first: SECOND, factor };
        refused(Schedule::builder(growth), &format!("factor is {shown}, allowed is 1 to 100"));
    }
}

#[test]
fn decorrelated_delays_take_no_jitter() {
    refused(
        Schedule::builder(Growth::Decorrelated { first: SECOND }).jitter(Jitter::Full),
        "jitter is Full, allowed is None, since decorrelated delays are random already",
    );
}

#[test]
fn the_ends_of_each_range_are_allowed() {
    for growth in [
        Growth::Constant { delay: DAY },
        Growth::Linear { first: Duration::from_nanos(1) },
        Growth::Exponential { first: DAY, factor: 100.0 },
        Growth::Exponential { first: DAY, factor: 1.0 },
    ] {
        let builder = Schedule::builder(growth).delay_max(DAY).elapsed_max(30 * DAY).retries_max(u32::MAX);
        assert!(builder.build().is_ok(), "{builder:?}");
    }
}
