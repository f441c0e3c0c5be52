//! The stages that wait for somebody else: by themselves, or within a cached one.

use std::sync::Arc;

use aqueduct_core::Clock;
use aqueduct_stream::{AsyncStage, ExecStage, Progress};

use super::cached::{Cached, meaning};
use super::exec;
use crate::allowance::Allowance;
use crate::caches::Caches;
use crate::connectors::backend::Backend;
use crate::connectors::figures::Figures;
use crate::connectors::http::stage::Http;
use crate::connectors::model::{Asked, Model};
use crate::spec::{CachedSpec, ExecSpec, HttpSpec, InnerSpec, ModelSpec, PipelineSpec};

/// What such stages are made with.
pub(super) struct Waiting<'a> {
    pub(super) spec: &'a PipelineSpec,
    pub(super) clock: Clock,
    pub(super) programs: exec::Surroundings,
    pub(super) progress: Arc<Progress>,
    pub(super) backends: Vec<Arc<Backend>>,
    pub(super) allowances: Vec<Arc<Allowance>>,
    pub(super) caches: Arc<Caches>,
    /// Whether the services are played.
    pub(super) is_played: bool,
}

impl Waiting<'_> {
    fn allowance(&self, draw: Option<usize>) -> Option<Arc<Allowance>> {
        draw.map(|draw| Arc::clone(&self.allowances[draw]))
    }

    /// What stands before an item's id in its Idempotency-Key.
    fn scope(&self, name: &str) -> String {
        format!("{}/{name}/", self.spec.name)
    }

    pub(super) fn http(&self, name: &str, http: &HttpSpec) -> Http {
        Http {
            spec: http.clone(),
            backend: Arc::clone(&self.backends[http.backend]),
            allowance: self.allowance(http.draw),
            scope: self.scope(name),
            progress: Arc::clone(&self.progress),
            figures: Figures::default(),
        }
    }

    pub(super) fn model(&self, name: &str, model: &ModelSpec) -> Model {
        Model {
            spec: model.clone(),
            backend: Arc::clone(&self.backends[model.backend]),
            pages: model.pages.map(|pages| Arc::clone(&self.backends[pages])),
            tokens: self.allowance(model.draw_tokens),
            allowance: self.allowance(model.draw),
            scope: self.scope(name),
            clock: self.clock.clone(),
            progress: Arc::clone(&self.progress),
            figures: Figures::default(),
            asked: Asked::default(),
        }
    }

    pub(super) fn exec(&self, name: &str, exec: &ExecSpec) -> ExecStage {
        exec::stage(self.spec, name, exec, &self.programs)
            .expect("the file's ranges lie within those of the stage")
    }

    pub(super) fn cached(&self, name: &str, cached: &CachedSpec) -> Cached {
        let inner: Box<dyn AsyncStage> = match &cached.of {
            InnerSpec::Http(http) => Box::new(self.http(name, http)),
            InnerSpec::Model(model) => Box::new(self.model(name, model)),
            InnerSpec::Exec(exec) => Box::new(self.exec(name, exec)),
        };
        Cached::new(cached, meaning(self.spec, &cached.of, self.is_played), inner, &self.caches)
    }
}
