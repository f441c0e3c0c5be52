//! Behaviour through the public surface.

#![cfg(test)]

mod cvss;
mod expression;
mod file;
mod reference;
mod schema;
mod settings;
mod stages;
