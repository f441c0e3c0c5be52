//! What parts of a run say of themselves, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Shows warnings and errors, and with `verbose` everything down to each request. Only our own parts are heard: a client
/// library that logs every frame would drown them.
pub(crate) fn show(verbose: bool) {
    let level = if verbose { LevelFilter::DEBUG } else { LevelFilter::WARN };
    let colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colour);
    let ours = Targets::new().with_target("aqueduct", level);
    // A second call changes nothing, and there is nothing to tell anybody.
    let _ = tracing_subscriber::registry().with(lines).with(ours).try_init();
}
