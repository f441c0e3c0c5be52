//! Behaviour of the scripted backend, the crash checker, the servers and the proxy, through the public surface.

#![cfg(test)]

mod backend;
mod campaign;
mod proxy;
mod servers;
