//! Behaviour of the crash checker, of the servers and of the proxy, through the public surface.
//! Behaviour of the scripted backend, the crash checker and the servers, through the public surface.

#![cfg(test)]

mod backend;
mod campaign;
mod proxy;
mod servers;
