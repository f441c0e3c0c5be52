//! Ctrl-C and SIGTERM.

use aqueduct_core::Shutdown;

use crate::exit::Exit;
use crate::output;

/// The first signal drains, the second stops at once, a third does not wait even for that.
pub(crate) fn watch(shutdown: Shutdown) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(mut signals) = Signals::new() else {
            output::message(
                "warning: signals cannot be watched; Ctrl-C will kill the run, which loses nothing",
            );
            return;
        };
        signals.next().await;
        output::message(
            "stopping: what is in flight is finished and committed; press Ctrl-C again to stop at once",
        );
        shutdown.drain();
        signals.next().await;
        output::message("stopping at once: what is not committed is read again next time");
        shutdown.stop();
        signals.next().await;
        std::process::exit(Exit::Early.code().into());
    })
}

/// Waits for the first signal, for what simply ends then. Signals are watched from the call on, not from the first look
/// at the future: one that comes early does not kill the program.
pub(crate) fn first() -> impl Future<Output = ()> {
    let signals = Signals::new();
    async {
        match signals {
            Ok(mut signals) => signals.next().await,
            Err(_) => {
                output::message("warning: signals cannot be watched; Ctrl-C will kill the program");
                std::future::pending().await
            }
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
