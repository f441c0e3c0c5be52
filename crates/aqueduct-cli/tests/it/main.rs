//! The binary as a person uses it: real files, real databases, real signals.

#![cfg(test)]

mod bad_input;
mod commands;
mod environment;
mod exec;
mod faults;
mod reference;
mod run;
mod stages;
mod start;
mod support;
