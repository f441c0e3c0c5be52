//! Question: what does recording one time cost, alone and with both cores at it?
//!
//! Workload: 1,000,000 times between 100 ns and 1 s are recorded by one thread, and by two at once into the same
//! histogram. Ours has atomic buckets; `hdrhistogram` wants `&mut`, so sharing it takes a lock, or a recorder for
//! each thread that a reader must collect.
//!
//! A good answer: ours costs no more than the lock alone, and two threads do not make it slower by the item.

use std::sync::Mutex;

use aqueduct_metrics::{Config, Definition, Histogram, Registry, Scale};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const TIMES: Definition = Definition { name: "bench_seconds", help: "Times.", labels: &[] };
const VALUES: usize = 1_000_000;

fn ours() -> Histogram {
    let registry = Registry::new(Config::default()).expect("the default is valid");
    let family = registry.histogram(&TIMES, Scale::SECONDS).expect("the name is valid");
    family.series(&[]).expect("there are no labels")
}

fn theirs() -> hdrhistogram::Histogram<u64> {
    // Two significant digits are 1 %, next to our 1/128.
    hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("the bounds are valid")
}

fn on_two_threads(values: &[u64], record: impl Fn(u64) + Sync) {
    let (left, right) = values.split_at(values.len() / 2);
    std::thread::scope(|scope| {
        for half in [left, right] {
            scope.spawn(|| half.iter().for_each(|value| record(*value)));
        }
    });
}

fn recording(criterion: &mut Criterion) {
    let mut random = fastrand::Rng::with_seed(3);
    let values: Vec<u64> = (0..VALUES).map(|_| 100 << random.u32(0..24)).collect();
    let mut group = criterion.benchmark_group("histogram");
    group.throughput(Throughput::Elements(VALUES as u64));
    let atomic = ours();
    group.bench_function("ours, one thread", |b| {
        b.iter(|| values.iter().for_each(|value| atomic.record(*value)))
    });
    let mut plain = theirs();
    group.bench_function("hdrhistogram, one thread, not shared", |b| {
        b.iter(|| values.iter().for_each(|value| plain.saturating_record(*value)));
    });
    let locked = Mutex::new(theirs());
    let record = |value| locked.lock().expect("nobody panics under this lock").saturating_record(value);
    group.bench_function("hdrhistogram behind a mutex, one thread", |b| {
        b.iter(|| values.iter().for_each(|value| record(*value)));
    });
    group.bench_function("ours, two threads", |b| {
        b.iter(|| on_two_threads(&values, |value| atomic.record(value)))
    });
    group.bench_function("hdrhistogram behind a mutex, two threads", |b| {
        b.iter(|| on_two_threads(&values, record));
    });
    group.finish();
}

criterion_group!(benches, recording);
criterion_main!(benches);
