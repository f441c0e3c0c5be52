//! The ways through a pipeline: the main one, branches, and straight to a sink.

use std::sync::Arc;

use crate::error::ConfigError;
use crate::pipeline::Pipeline;
use crate::stage::{Lane, Step};

/// The names that a stage may send items to.
#[derive(Clone, Debug)]
pub(crate) struct Ways {
    branches: Vec<Arc<str>>,
    sinks: Vec<Arc<str>>,
}

impl Ways {
    pub(crate) fn of(pipeline: &Pipeline) -> Self {
        let taken = pipeline
            .steps
            .iter()
            .map(|step| &step.branch)
            .chain(pipeline.sinks.iter().map(|sink| &sink.branch));
        let mut branches: Vec<Arc<str>> = Vec::new();
        for branch in taken.flatten() {
            if !branches.contains(branch) {
                branches.push(Arc::clone(branch));
            }
        }
        Self { branches, sinks: pipeline.sinks.iter().map(|sink| Arc::clone(&sink.name)).collect() }
    }

    /// The way of this name. A branch goes before a sink of the same name, so that `branch = "low"` may be taken
    /// by a sink `low`.
    pub(crate) fn lane(&self, name: &str) -> Option<Lane> {
        let at = |names: &[Arc<str>]| {
            names.iter().position(|known| &**known == name).and_then(|at| u16::try_from(at).ok())
        };
        at(&self.branches).map(Lane::Branch).or_else(|| at(&self.sinks).map(Lane::Sink))
    }

    /// The name of a way; the main one has none.
    pub(crate) fn name(&self, lane: Lane) -> Option<&str> {
        let name = match lane {
            Lane::Main => None,
            Lane::Branch(branch) => self.branches.get(usize::from(branch)),
            Lane::Sink(sink) => self.sinks.get(usize::from(sink)),
        };
        name.map(|name| &**name)
    }

    /// The way that a stage or sink with this branch is on.
    pub(crate) fn lane_of(&self, branch: Option<&Arc<str>>) -> Lane {
        branch.and_then(|branch| self.lane(branch)).unwrap_or_default()
    }

    /// Tells each stage its own way and those to its targets. The targets are known: they were checked.
    pub(crate) fn resolve(&self, steps: &mut [Step]) {
        for step in steps {
            step.lane = self.lane_of(step.branch.as_ref());
            step.exits = step.targets().iter().map(|target| self.lane(target).unwrap_or_default()).collect();
        }
    }

    /// The way into each sink; a sink that stages name takes what they send it and nothing else.
    pub(crate) fn sink_lanes(&self, pipeline: &Pipeline) -> Vec<Option<Lane>> {
        let targets: Vec<Arc<str>> = pipeline.steps.iter().flat_map(|step| step.targets()).collect();
        let lane = |sink: &crate::pipeline::NamedSink| {
            if sink.branch.is_none() && targets.contains(&sink.name) && !self.branches.contains(&sink.name) {
                return None;
            }
            Some(self.lane_of(sink.branch.as_ref()))
        };
        pipeline.sinks.iter().map(lane).collect()
    }

    /// Refuses ways that lead nowhere and parts that nothing leads to.
    pub(crate) fn check(&self, pipeline: &Pipeline) -> Result<(), ConfigError> {
        let known = || {
            let names = self.sinks.iter().chain(&self.branches).map(ToString::to_string);
            names.collect::<Vec<_>>().join(", ")
        };
        for step in &pipeline.steps {
            for target in step.targets() {
                if self.lane(&target).is_none() {
                    return Err(ConfigError::UnknownSink {
                        stage: step.name.to_string(),
                        sink: target.to_string(),
                        known: known(),
                    });
                }
            }
        }
        let mut open: Vec<Arc<str>> = Vec::new();
        for step in &pipeline.steps {
            self.check_fed(&step.name, step.branch.as_ref(), &open)?;
            open.extend(step.targets());
        }
        for sink in &pipeline.sinks {
            self.check_fed(&sink.name, sink.branch.as_ref(), &open)?;
        }
        let lanes = self.sink_lanes(pipeline);
        let ends = |lane: Lane| {
            let diverted = pipeline
                .steps
                .iter()
                .any(|step| self.lane_of(step.branch.as_ref()) == lane && step.diverts());
            diverted || lanes.contains(&Some(lane))
        };
        if !ends(Lane::Main) {
            return Err(ConfigError::NoMainSink { known: known() });
        }
        match self.branches.iter().find(|branch| !ends(self.lane_of(Some(branch)))) {
            Some(branch) => Err(ConfigError::BranchWithoutSink { branch: branch.to_string() }),
            None => Ok(()),
        }
    }

    /// A stage or sink on a branch needs an earlier stage that sends items there.
    fn check_fed(&self, part: &str, branch: Option<&Arc<str>>, fed: &[Arc<str>]) -> Result<(), ConfigError> {
        match branch {
            Some(branch) if !fed.contains(branch) => {
                Err(ConfigError::BranchNotFed { part: part.to_owned(), branch: branch.to_string() })
            }
            _ => Ok(()),
        }
    }
}
