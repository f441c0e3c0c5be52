//! Behaviour of the shared words, through the public surface.

#![cfg(test)]

mod clock;
mod counts;
mod item;
mod keyed;
mod shutdown;
