//! What every backend promises, on each of them, and what only some do.

#![cfg(test)]

mod capacity;
mod dead_letters;
mod dedup;
mod fairness;
#[cfg(target_os = "linux")]
mod full_disk;
mod groups;
mod keys;
mod kill;
mod lasting;
mod leases;
mod metrics;
mod operators;
mod order;
mod publish;
mod store;
mod tenants;
mod transactions;
