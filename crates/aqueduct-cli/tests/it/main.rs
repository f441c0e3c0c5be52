//! The binary as a person uses it: real files, real databases, real signals.

#![cfg(test)]

mod bad_input;
mod batch;
mod cache;
mod cases;
mod commands;
mod connectors;
mod dead_letters;
mod demo;
mod environment;
mod exec;
mod faults;
mod flow;
mod guides;
mod journal;
mod queue_commands;
mod queues;
mod reference;
mod run;
mod stages;
mod start;
mod support;
mod transcript;
mod upkeep;
