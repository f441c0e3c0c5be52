//! Behaviour of the crash checker, through the public surface.

mod campaign;
