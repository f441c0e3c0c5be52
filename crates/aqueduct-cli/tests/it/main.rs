//! The binary as a person uses it: real files, real databases, real signals.

mod bad_input;
mod commands;
mod environment;
mod faults;
mod run;
mod support;
