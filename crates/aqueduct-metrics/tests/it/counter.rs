use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aqueduct_metrics::{Counter, Gauge};

#[test]
fn no_increment_is_lost_and_no_reader_sees_a_counter_go_back() {
    const THREADS: u64 = 8;
    const EACH: u64 = 50_000;
    let counter = Counter::default();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while !done.load(Ordering::Relaxed) {
                let now = counter.value();
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        });
        let writers: Vec<_> = (0..THREADS)
            .map(|_| {
                let counter = counter.clone();
                scope.spawn(move || (0..EACH).for_each(|_| counter.increment()))
            })
            .collect();
        for writer in writers {
            writer.join().expect("the writer does not panic");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("a reader sees a counter that only grows");
    });
    assert_eq!(counter.value(), THREADS * EACH);
}

#[test]
fn a_counter_past_the_largest_number_starts_again_at_zero() {
    let counter = Counter::default();
    counter.add(u64::MAX);
    counter.add(3);
    assert_eq!(counter.value(), 2);
}

#[test]
fn no_step_of_a_gauge_is_lost() {
    let gauge = Gauge::default();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for step in [1.0, -1.0, 2.0, -1.5] {
            let (gauge, start) = (gauge.clone(), &start);
            scope.spawn(move || {
                start.wait();
                (0..100_000).for_each(|_| gauge.add(step));
            });
        }
    });
    assert_eq!(gauge.value(), 50_000.0);
    gauge.set(-0.5);
    assert_eq!(gauge.value(), -0.5);
}
