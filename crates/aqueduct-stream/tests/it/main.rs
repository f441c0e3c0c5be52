//! Whole pipelines through the public surface, on real files and real databases.

#![cfg(test)]

mod dedupe;
mod exact;
mod exec;
mod flow;
mod input;
mod preview;
mod replay;
mod resume;
mod stages;
mod support;
mod ways;
