use std::fmt::Debug;

use aqueduct_metrics::{Counter, Distribution, Family, Gauge, Histogram, Registry, Snapshot};

#[test]
fn everything_can_be_shared_between_threads_and_printed() {
    fn check<T: Debug + Send + Sync + 'static>() {}
    check::<Counter>();
    check::<Distribution>();
    check::<Family<Counter>>();
    check::<Gauge>();
    check::<Histogram>();
    check::<Registry>();
    check::<Snapshot>();
}

#[test]
fn a_handle_prints_its_figure_and_not_its_insides() {
    let (counter, gauge, histogram) = (Counter::default(), Gauge::default(), Histogram::default());
    counter.add(3);
    gauge.set(0.5);
    histogram.record(7);
    assert_eq!(format!("{counter:?} {gauge:?}"), "Counter(3) Gauge(0.5)");
    assert_eq!(format!("{histogram:?}"), "Histogram { count: 1, min: Some(7), p50: Some(7), max: Some(7) }");
}
