//! Behaviour of the crash checker, of the servers and of the proxy, through the public surface.

mod campaign;
mod proxy;
mod servers;
