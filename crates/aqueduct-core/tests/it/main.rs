//! Behaviour of the shared words, through the public surface.

mod clock;
mod counts;
mod item;
mod shutdown;
