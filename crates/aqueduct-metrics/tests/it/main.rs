//! What the crate promises, through its public surface.

mod counter;
mod exposition;
mod histogram;
mod registry;
mod surface;
