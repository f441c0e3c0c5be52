//! Runs a pipeline file against a scripted backend, and prints what was wanted beside what was seen.

use std::time::Duration;

use aqueduct_core::{Clock, Shutdown, ShutdownSignal};
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::Report;
use aqueduct_testkit::backend::{Account, Backend, Script};

/// Whatever ends a bench without a result.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a pipeline did, and what its backend saw of it.
#[derive(Debug)]
pub struct Ran {
    /// The closing report of the run.
    pub report: Report,
    /// The backend's account: when the measured time was over, or else at the end.
    pub account: Account,
    /// From the first call that the backend saw to that account.
    pub took: Duration,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// All items are through.
    Done,
    /// So much time has gone by since the first call. Then the account is taken, and the run drains.
    After(Duration),
}

/// How often the backend is asked whether the first call has come.
const LOOK: Duration = Duration::from_millis(1);

/// Runs a pipeline file against a backend of its own, in a folder of its own.
///
/// # Errors
///
/// Whatever fails: the file, the backend or the run.
pub async fn run(pipeline: &str, script: Script, until: Until) -> Result<Ran, Failure> {
    let backend = Backend::start(script).await?;
    let (shutdown, signal) = Shutdown::new();
    let running = run_at(pipeline, backend.urls().to_vec(), signal);
    let clock = Clock::system();
    let watching = async {
        while backend.account().total.calls == 0 {
            clock.sleep(LOOK).await;
        }
        let begun = clock.now();
        let time = match until {
            Until::Done => return (begun, None),
            Until::After(time) => time,
        };
        clock.sleep(time).await;
        let account = backend.account();
        let took = clock.now().since(begun);
        shutdown.drain();
        (begun, Some((account, took)))
    };
    let (report, (begun, account)) = tokio::join!(running, watching);
    let report = report?;
    let (account, took) = account.unwrap_or_else(|| (backend.account(), clock.now().since(begun)));
    backend.stop().await;
    Ok(Ran { report, account, took })
}

/// Runs a pipeline file in a folder of its own, with its services played by `servers`.
///
/// # Errors
///
/// Whatever fails: the file or the run.
pub async fn run_at(
    pipeline: &str,
    servers: Vec<String>,
    shutdown: ShutdownSignal,
) -> Result<Report, Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("pipeline.toml");
    std::fs::write(&path, pipeline)?;
    let environment = |_: &str| None;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let spec = PipelineSpec::load(&path, &Inputs::new(&environment).with_cores(cores))?;
    let request = RunRequest { shutdown, stand_in: servers, ..RunRequest::default() };
    Ok(assemble(&spec, request).run().await?)
}

/// Prints a figure and what was wanted of it.
#[expect(clippy::print_stdout, reason = "a bench prints its result")]
pub fn row(what: &str, wanted: &str, figure: &str) {
    println!("  {what:<66} {wanted:>12} {figure:>12}");
}

/// Prints a title over rows.
#[expect(clippy::print_stdout, reason = "a bench prints its result")]
pub fn title(title: &str) {
    println!("{title:<68} {:>12} {:>12}", "wanted", "measured");
}
