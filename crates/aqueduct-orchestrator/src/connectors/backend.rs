//! From the rules of a backend to calls that keep them.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Phase, ShutdownSignal};
use aqueduct_http::{Client, Response};
use aqueduct_metrics::Registry;
use aqueduct_policy::{Call, PolicyError, RefusedBy};
use aqueduct_stream::{ConfigError, StageError};
use serde_json::{Map, Value as Json};

use super::answers::Answers;
use super::exchange::{Exchange, ExchangeError, Outgoing};
use super::figures::Figures;
use super::rules::{self, Made};
use super::stand_in::StandIn;
use crate::caches::Caches;
use crate::redacted::Redacted;
use crate::request::RunRequest;
use crate::spec::{BackendSpec, PipelineSpec, Scope};

/// A backend that stages, sources and sinks call. Its connections and circuits are made with the first call, or when a
/// run asks whether it can work.
pub(crate) struct Backend {
    spec: BackendSpec,
    /// Where a relative path begins.
    folder: PathBuf,
    clock: Clock,
    shutdown: ShutdownSignal,
    metrics: Registry,
    /// What plays the services, if they are played.
    stand_in: Arc<StandIn>,
    /// What is kept of its answers.
    answers: Option<Arc<Answers>>,
    made: Mutex<Option<Arc<Made>>>,
}

/// What came back in the end.
pub(crate) struct Answer {
    pub(crate) response: Response,
    /// Where it came from in the end.
    pub(crate) url: String,
    /// How many attempts it took.
    pub(crate) attempts: u32,
}

impl Backend {
    pub(crate) fn new(
        spec: &BackendSpec,
        pipeline: &PipelineSpec,
        request: &RunRequest,
        caches: &Arc<Caches>,
    ) -> Arc<Self> {
        let stand_in = Arc::new(StandIn::new(request.stand_in.clone(), pipeline));
        let answers = spec.cache.map(|kept| Answers::new(spec, kept, stand_in.plays(), caches));
        Arc::new(Self {
            spec: spec.clone(),
            folder: pipeline.folder.clone(),
            clock: request.clock.clone(),
            shutdown: request.shutdown.clone(),
            metrics: request.metrics.clone(),
            stand_in,
            answers,
            made: Mutex::default(),
        })
    }

    /// Its name and where it is, for people.
    pub(crate) fn describe(&self) -> String {
        if self.spec.endpoints.is_empty() {
            return format!("the hosts of backend {}", self.spec.name);
        }
        let endpoints: Vec<String> = self.spec.endpoints.iter().map(ToString::to_string).collect();
        format!("backend {} ({})", self.spec.name, endpoints.join(", "))
    }

    /// Sees whether it can work: makes its connections' rules and reads its certificates, once.
    pub(crate) fn ready(&self) -> Result<Arc<Made>, ConfigError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made {
            return Ok(Arc::clone(made));
        }
        let misfit = |error: aqueduct_core::ConfigError| ConfigError::Value {
            field: format!("{} of backend {}", error.field, self.spec.name),
            value: error.value,
            expected: error.allowed,
        };
        let client = self.client()?;
        let exchange = |base: Option<&str>| {
            let base = base.map(|base| base.trim_end_matches('/').to_owned());
            let (stand_in, clock) = (Arc::clone(&self.stand_in), self.clock.clone());
            Arc::new(Exchange { client: client.clone(), base, stand_in, clock })
        };
        let endpoints: Vec<(String, Arc<Exchange>)> = if self.spec.endpoints.is_empty() {
            vec![(self.spec.name.clone(), exchange(None))]
        } else {
            let each =
                |endpoint: &Redacted| (endpoint.written().to_owned(), exchange(Some(endpoint.expose())));
            self.spec.endpoints.iter().map(each).collect()
        };
        let new = rules::backend(&self.spec, endpoints, &self.clock, &self.metrics, self.answers.as_ref())
            .map_err(misfit)?;
        Ok(Arc::clone(made.insert(Arc::new(new))))
    }

    fn client(&self) -> Result<Client, ConfigError> {
        let spec = &self.spec.client;
        let mut config = aqueduct_http::Config::builder()
            .hosts(spec.hosts.value)
            .connections_per_host(spec.connections_per_host.value)
            .response_bytes_max(spec.response_bytes_max)
            .timeout(self.spec.timeout)
            .connect_timeout(spec.connect_timeout)
            .redirects_max(spec.redirects_max as usize)
            // What plays the services is on this machine.
            .allow_private(spec.allow_private || self.stand_in.plays());
        if let Some(user_agent) = &spec.user_agent {
            config = config.user_agent(user_agent.expose());
        }
        if let Some(path) = &spec.root_certificate {
            let path = self.folder.join(path.expose());
            let pem = std::fs::read(&path).map_err(|error| ConfigError::Value {
                field: format!("root_certificate of backend {}", self.spec.name),
                value: path.display().to_string(),
                expected: format!("a file of certificates that can be read ({error})"),
            })?;
            config = config.root_certificate(pem);
        }
        let misfit = |error: aqueduct_core::ConfigError| ConfigError::Value {
            field: format!("{} of backend {}", error.field, self.spec.name),
            value: error.value,
            expected: error.allowed,
        };
        let config = config.build().map_err(misfit)?;
        Client::new(config).map_err(|error| ConfigError::Value {
            field: format!("backend {}", self.spec.name),
            value: "its client".to_owned(),
            expected: error.to_string(),
        })
    }

    /// Makes one call, as often as its rules say. What the quota or an open circuit refuses is waited for: it is no
    /// failure of anybody.
    ///
    /// From the phase `until` on nothing is begun and nothing waited for. Stages and sources leave to the next run what they
    /// have not begun when the run drains: a window of items may be hours of calls. A sink does not, for a run that drains
    /// delivers what it has.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it gives back all that it holds; the call may have been carried out.
    pub(crate) async fn call(
        &self,
        outgoing: &Outgoing,
        tenant: &str,
        until: Phase,
        figures: &Figures,
    ) -> Result<Answer, StageError> {
        let made = self.ready().map_err(|error| StageError::stop(error.to_string()))?;
        let key = match self.spec.scope {
            Scope::Backend => self.spec.name.clone(),
            Scope::Host => host(&outgoing.target)?,
        };
        if self.shutdown.phase() >= until {
            return Err(StageError::end("the run was asked to stop before the call for an item began"));
        }
        let mut before = 0;
        loop {
            let repeatable = outgoing.repeatable;
            let call =
                Call::new(outgoing.clone()).key(key.clone()).tenant(tenant.to_owned()).repeatable(repeatable);
            // The layers make a large future, and a stage moves its own about. A wait is rare, and its room would be in each.
            let result = Box::pin(made.call_counted(call)).await;
            if let Err(error) = &result
                && let Some(answer) = self.old_answer(outgoing, error, before).await
            {
                return Ok(answer);
            }
            let (reason, wait) = match result {
                Ok(answered) => {
                    return Ok(self.answer(outgoing, answered.response, before + answered.attempts));
                }
                // The service refuses for its own quota: no failure of the item either, however often it says so.
                Err(PolicyError::Failed { attempts, source }) if source.class() == ErrorClass::Overload => {
                    before += attempts;
                    (source.to_string(), source.retry_after().unwrap_or(WAIT).clamp(WAIT_MIN, WAIT_MAX))
                }
                Err(PolicyError::Refused(refusal)) if refusal.by != RefusedBy::TooLarge => {
                    before += refusal.attempts;
                    (refusal.to_string(), refusal.retry_after.unwrap_or(WAIT).max(WAIT_MIN))
                }
                Err(error) => return Err(failed(error, before)),
            };
            figures.waited(wait);
            Box::pin(self.wait(&key, &reason, wait, until)).await?;
        }
    }

    /// The answer that was good before, where the service gives none. A refusal for a quota, ours or the service's, is waited
    /// for: it says nothing of the service.
    async fn old_answer(
        &self,
        outgoing: &Outgoing,
        error: &PolicyError<ExchangeError>,
        before: u32,
    ) -> Option<Answer> {
        let answers = self.answers.as_ref()?;
        let is_down = match error {
            PolicyError::Failed { source, .. } => source.class() != ErrorClass::Overload,
            PolicyError::Refused(refusal) => {
                matches!(refusal.by, RefusedBy::Circuit | RefusedBy::Endpoint)
            }
            PolicyError::TimedOut { .. } | PolicyError::Deadline { .. } => true,
        };
        if !is_down {
            return None;
        }
        let response = Box::pin(answers.stale(outgoing)).await?;
        Some(self.answer(outgoing, response, before + error.attempts()))
    }

    fn answer(&self, outgoing: &Outgoing, response: Response, attempts: u32) -> Answer {
        let asked = self.stand_in.plays().then_some(&*outgoing.target);
        let url = asked.unwrap_or_else(|| response.url()).to_owned();
        Answer { response, url, attempts }
    }

    /// Writes down what is kept. May be called more than once.
    pub(crate) async fn close(&self) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(answers), Some(made)) = (&self.answers, made) {
            answers.close(&made.snapshot()).await;
        }
    }

    /// Waits until a refusal is over, or a run that is asked to stop has come to a phase.
    async fn wait(&self, key: &str, reason: &str, wait: Duration, until: Phase) -> Result<(), StageError> {
        tracing::debug!(backend = self.spec.name, key, seconds = wait.as_secs_f64(), reason, "waits");
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = self.clock.sleep(wait) => Ok(()),
            () = shutdown.reached(until) => {
                Err(StageError::end(format!("a call to {key} had to wait when the run was asked to stop: {reason}")))
            }
        }
    }

    /// Adds what its rules did, for whoever calls it, to the figures of a stage.
    pub(crate) fn write(&self, figures: &mut Map<String, Json>) {
        if let Some(made) = &*self.made.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut own = Map::new();
            own.insert("name".to_owned(), self.spec.name.as_str().into());
            let snapshot = made.snapshot();
            rules::write(&snapshot, &mut own);
            if let Some(cache) = self.answers.as_ref().and_then(|answers| answers.figures(&snapshot)) {
                own.insert("cache".to_owned(), cache.into());
            }
            figures.insert("backend".to_owned(), own.into());
        }
    }
}

/// How long to wait where a refusal does not know.
const WAIT: Duration = Duration::from_secs(1);

/// The longest wait that a service is believed; then it is asked again, and a person sees the warning again.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// The shortest wait: a refusal that is over at once must not become a spin.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// A call that did not succeed, as an error of the stage.
fn failed(error: PolicyError<ExchangeError>, before: u32) -> StageError {
    let failed =
        StageError::new(error.class(), format!("failed to {error}")).with_attempts(before + error.attempts());
    match error {
        PolicyError::Failed { source, .. } | PolicyError::Deadline { last: Some(source), .. } => {
            failed.with_source(source)
        }
        _ => failed,
    }
}

/// The host that a URL names, with its port where it has one.
fn host(url: &str) -> Result<String, StageError> {
    let authority = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let authority = authority.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match authority.map(|authority| authority.rsplit('@').next().unwrap_or_default()) {
        Some(host) if !host.is_empty() => Ok(host.to_ascii_lowercase()),
        _ => Err(StageError::permanent(
            "the item's URL begins with neither http:// nor https://, or has no host",
        )),
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("spec", &self.spec).finish_non_exhaustive()
    }
}
