//! Question: what does a pick cost, by algorithm and by how many endpoints there are, and what does a call whose time
//! is measured?
//!
//! Workload: one thread picks among 10, 100 and 1,000 endpoints of equal weight that have all answered before, and
//! gives the lease back; then the same with a call that succeeds. Keys, where they matter, have 20 bytes.
//!
//! A good answer: 80 ns for a pick among 1,000, and no more than a cache miss above a pick among 10.

use aqueduct_balancer::{Algorithm, Balancer, Config, Endpoint};
use aqueduct_core::{Clock, Verdict};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const ALGORITHMS: [(&str, Algorithm); 8] = [
    ("least response time", Algorithm::LeastResponseTime),
    ("power of two", Algorithm::PowerOfTwo),
    ("least connections", Algorithm::LeastConnections { choices: 4 }),
    ("adaptive", Algorithm::Adaptive { hot_quantile: 0.84 }),
    ("round robin", Algorithm::RoundRobin),
    ("weighted round robin", Algorithm::WeightedRoundRobin),
    ("ketama", Algorithm::Ketama),
    ("maglev", Algorithm::Maglev { table: 65_537 }),
];

fn balancer(endpoints: u32, algorithm: Algorithm) -> Balancer<u32> {
    let config = Config::builder().algorithm(algorithm).build().expect("it is within the ranges");
    let endpoints = (0..endpoints).map(|index| Endpoint::new(index.to_string(), index));
    let balancer = Balancer::new(endpoints, config, Clock::system()).expect("they are endpoints");
    for key in 0..50_000_u32 {
        let lease = balancer.pick_for(&key.to_le_bytes()).expect("there are some");
        lease.finish(Verdict::Success);
    }
    balancer
}

fn picking(criterion: &mut Criterion) {
    for (name, algorithm) in ALGORITHMS {
        let mut group = criterion.benchmark_group(format!("balancer/{name}"));
        for endpoints in [10, 100, 1_000] {
            let balancer = balancer(endpoints, algorithm);
            group.bench_function(BenchmarkId::new("pick", endpoints), |bencher| {
                bencher.iter(|| balancer.pick_for(b"a key of 20 letters.").is_ok());
            });
            group.bench_function(BenchmarkId::new("pick and finish", endpoints), |bencher| {
                bencher.iter(|| {
                    let lease = balancer.pick_for(b"a key of 20 letters.");
                    lease.map(|lease| lease.finish(Verdict::Success)).is_ok()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, picking);
criterion_main!(benches);
