//! A pool: who waits, who runs, who is late.

mod control;
mod cpu;
mod ending;
mod entry;
mod handle;
mod io;
mod keeper;
mod shared;
mod state;
mod ticket;

pub use cpu::CpuPool;
pub use handle::Pool;
pub(crate) use handle::Watch;
pub use io::IoPool;
pub(crate) use ticket::Canceller;
pub use ticket::Ticket;
