//! Behaviour of the scripted backend, the crash checker and the servers, through the public surface.

#![cfg(test)]

mod backend;
mod campaign;
mod servers;
