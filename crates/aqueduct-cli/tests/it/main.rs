//! The binary as a person uses it: real files, real databases, real signals.

#![cfg(test)]

mod bad_input;
mod commands;
mod connectors;
mod environment;
mod faults;
mod run;
mod support;
