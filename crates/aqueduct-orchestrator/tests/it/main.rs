//! Behaviour through the public surface.

mod cvss;
mod expression;
mod file;
mod reference;
mod schema;
mod settings;
mod stages;
