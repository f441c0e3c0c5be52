//! Behaviour through the public surface.

#![cfg(test)]

mod backends;
mod cached;
mod calls;
mod cvss;
mod expression;
mod file;
mod html;
mod queue;
mod reference;
mod schema;
mod settings;
mod stages;
