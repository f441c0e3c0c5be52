//! Whole pipelines through the public surface, on real files and real databases.

#![cfg(test)]

mod columns;
mod dedupe;
mod exact;
mod exec;
mod files;
mod flow;
mod input;
mod journal;
mod preview;
mod replay;
mod resume;
mod rows;
mod stages;
mod support;
mod unending;
mod ways;
