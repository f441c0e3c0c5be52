//! Behaviour of the crash checker and of the servers, through the public surface.

mod campaign;
mod servers;
