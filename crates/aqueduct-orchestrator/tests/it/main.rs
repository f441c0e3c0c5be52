//! Behaviour through the public surface.

mod cvss;
mod expression;
mod file;
mod reference;
mod settings;
mod stages;
