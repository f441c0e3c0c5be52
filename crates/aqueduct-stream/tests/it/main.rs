//! Whole pipelines through the public surface, on real files and real databases.

#![cfg(test)]

mod exact;
mod exec;
mod input;
mod stages;
mod support;
