use std::ffi::OsString;
use std::sync::Arc;

use aqueduct_core::{Clock, ShutdownSignal};
use aqueduct_metrics::Registry;
use aqueduct_stream::{Fault, Progress, Resume, StderrLines};

/// What a run is given besides its file.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Reads at most this many items.
    pub limit: Option<u64>,
    /// Goes back to a kept checkpoint first.
    pub resume: Option<Resume>,
    /// Runs although the source, a state's meaning or columns have changed.
    pub accept_change: bool,
    /// Where time comes from.
    pub clock: Clock,
    /// Who may ask the run to drain or stop.
    pub shutdown: ShutdownSignal,
    /// Where live figures go.
    pub progress: Arc<Progress>,
    /// Where metrics are registered.
    pub metrics: Registry,
    /// How stages fail before they work, by the name of the stage. For tests of pipelines.
    pub faults: Vec<(String, Fault)>,
    /// What `PATH` holds, to look for the programs of exec stages before anything is read. Without it, a missing
    /// one shows with its first item.
    pub search_path: Option<OsString>,
    /// Who gets what the programs of exec stages write to standard error, each line behind the name of its stage.
    pub stderr_lines: Option<StderrLines>,
    /// The base URLs of what plays the services of the pipeline; none where they are called.
    pub stand_in: Vec<String>,
    /// Where results are kept that the pipeline caches.
    pub cache: CacheReach,
}

/// How far the cache of a run reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheReach {
    /// As far as the file says.
    #[default]
    File,
    /// Memory alone: nothing is read from or written to what other runs see. For looks and tests.
    Memory,
}

impl Default for RunRequest {
    fn default() -> Self {
        Self {
            limit: None,
            resume: None,
            accept_change: false,
            clock: Clock::system(),
            shutdown: ShutdownSignal::never(),
            progress: Arc::default(),
            metrics: Registry::default(),
            faults: Vec::new(),
            search_path: None,
            stderr_lines: None,
            stand_in: Vec::new(),
            cache: CacheReach::File,
        }
    }
}
