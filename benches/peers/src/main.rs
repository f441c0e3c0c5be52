//! Aqueduct's parts beside the crates that people use for the same jobs.
//!
//! `cargo run --release` runs everything, `cargo run --release -- breaker` one part. Each part first shows defects:
//! a peer does what it does, ours must not. Then it compares times: both sides are measured in turns in one run, and
//! what is printed is the ratio. The process fails when ours shows a defect or misses a figure by which it is held.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured, and some peers know no other")]

mod balancer;
mod breaker;
mod cache;
mod memory;
mod queue;
mod ratelimit;
mod report;
mod retry;

use std::alloc::System;
use std::process::ExitCode;

use report::Report;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

type Part = (&'static str, fn(&mut Report));

const PARTS: &[Part] = &[
    ("ratelimit", ratelimit::run),
    ("breaker", breaker::run),
    ("retry", retry::run),
    ("balancer", balancer::run),
    ("memory", memory::run),
    ("cache", cache::run),
    ("queue", queue::run),
];

/// Counts what is allocated. It adds an addition or two to each allocation and nothing to anything else.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("error: no part {unknown:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for (name, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| part == name) {
            println!("\n== {name}");
            run(&mut report);
        }
    }
    report.end()
}
