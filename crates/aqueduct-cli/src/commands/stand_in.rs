//! A server of this process that plays the services of a pipeline.

use std::path::Path;

use aqueduct_core::ConfigError;
use aqueduct_orchestrator::{PipelineSpec, StandInSpec};
use aqueduct_testkit::backend::{Account, Backend, Begins, Dead, Ends, Latency, Outage, Quota, Script};

use super::demo::pages;
use crate::exit::Exit;
use crate::output;

/// The server, while it plays.
pub(super) struct StandIn(Option<Backend>);

impl StandIn {
    /// Starts what the file asks for, and says so. Nothing where it asks for nothing.
    pub(super) async fn start(spec: &PipelineSpec) -> Result<Self, Exit> {
        let Some(stand_in) = &spec.stand_in else { return Ok(Self(None)) };
        let script = match script(stand_in, &spec.folder) {
            Ok(script) => script,
            Err(error) => {
                output::error(&*error);
                return Err(Exit::Config);
            }
        };
        let backend = match Backend::start(script).await {
            Ok(backend) => backend,
            Err(error) => {
                output::error(&error);
                return Err(Exit::Failed);
            }
        };
        let real = match &stand_in.unless {
            Some(variable) => format!("set {variable} to call the real ones"),
            None => "take [stand_in] out of the file to call the real ones".to_owned(),
        };
        output::message(&format!("{}: the services are played by this process; {real}", spec.name));
        Ok(Self(Some(backend)))
    }

    /// Where it is; nothing where nobody plays.
    pub(super) fn urls(&self) -> Vec<String> {
        self.0.as_ref().map(|backend| backend.urls().to_vec()).unwrap_or_default()
    }

    /// Ends it, and gives its account.
    pub(super) async fn stop(self) -> Option<Account> {
        match self.0 {
            Some(backend) => Some(backend.stop().await),
            None => None,
        }
    }
}

fn script(spec: &StandInSpec, folder: &Path) -> Result<Script, Box<dyn std::error::Error>> {
    let pages = match &spec.pages {
        Some(path) => pages::read(&folder.join(path.expose()))?,
        None => Vec::new(),
    };
    let tail = (spec.tail.get() > 0.0).then_some((spec.tail.get(), spec.tail_latency));
    let mut script = Script::builder()
        .hosts(spec.hosts)
        .records(spec.records)
        .latency(Latency { typical: spec.latency, tail })
        .errors(spec.errors.get())
        .pages(pages)
        .any_path(true)
        .seed(spec.seed);
    if let Some(calls) = spec.quota {
        script = script.quota(Quota { calls, window: spec.quota_window });
    }
    if let Some((from, calls)) = spec.outage {
        script = script.outage(Outage {
            host: spec.hosts - 1,
            from: Begins::AtCall(from),
            until: Ends::AtCall(from.saturating_add(calls)),
            dead: Dead::Unavailable,
        });
    }
    Ok(script.build().map_err(|error: ConfigError| error)?)
}

/// What it counted, in one line for people.
pub(super) fn told(account: &Account) -> String {
    let total = &account.total;
    let mut parts: Vec<String> = total
        .by_status
        .iter()
        .map(|(status, calls)| format!("{status}: {}", output::count(*calls)))
        .collect();
    if let Some(most) = total.calls_in_window_max {
        parts.push(format!("at most {} in the time of its quota", output::count(most)));
    }
    if account.keys.keys > 0 {
        parts.push(format!("{} carried out more than once", output::plural(account.keys.repeated, "key")));
    }
    format!("the stand-in had {} ({})", output::plural(total.calls, "call"), parts.join(", "))
}
