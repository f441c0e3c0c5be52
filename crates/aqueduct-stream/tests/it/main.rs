//! Whole pipelines through the public surface, on real files and real databases.

#![cfg(test)]

mod columns;
mod exact;
mod files;
mod input;
mod rows;
mod stages;
mod support;
mod unending;
