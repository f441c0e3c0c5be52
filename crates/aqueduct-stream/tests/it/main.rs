//! Whole pipelines through the public surface, on real files and real databases.

#![cfg(test)]

mod dedupe;
mod exact;
mod input;
mod resume;
mod stages;
mod support;
mod ways;
