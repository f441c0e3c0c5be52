use std::sync::Arc;

use aqueduct_core::{Item, Payload};
use aqueduct_stream::{Emission, Outcome, Stage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;
use crate::spec::Otherwise;

/// Sends items to branches and sinks by conditions.
pub(super) struct Route {
    routes: Vec<(Arc<str>, Arc<Expression>)>,
    all: bool,
    otherwise: Otherwise,
}

impl Route {
    pub(super) fn new(routes: &[(String, Arc<Expression>)], all: bool, otherwise: &Otherwise) -> Self {
        let route = |(name, when): &(String, Arc<Expression>)| (name.as_str().into(), Arc::clone(when));
        Self { routes: routes.iter().map(route).collect(), all, otherwise: otherwise.clone() }
    }

    fn without_a_match(&self) -> Result<Outcome, StageError> {
        match self.otherwise {
            // The last target is that of `otherwise`.
            Otherwise::To(_) => Ok(Outcome::Send(self.routes.len())),
            Otherwise::Pass => Ok(Outcome::Keep),
            Otherwise::Skip => Ok(Outcome::Skip("no route holds".into())),
            Otherwise::Fail => {
                let names: Vec<&str> = self.routes.iter().map(|(name, _)| &**name).collect();
                let message = format!("no route holds ({}), and there is no otherwise", names.join(", "));
                Err(StageError::permanent(message))
            }
        }
    }
}

impl Stage for Route {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let record = item.payload.record()?;
        let mut copies = Vec::new();
        for (target, (name, when)) in self.routes.iter().enumerate() {
            let holds = when
                .evaluate_bool(&record)
                .map_err(|error| stage_error(&format!("the route {name} cannot be computed"), error))?;
            if holds && !self.all {
                return Ok(Outcome::Send(target));
            }
            if holds {
                copies.push(Emission::To(Arc::clone(name), Payload::Record(record.clone().into_owned())));
            }
        }
        if copies.is_empty() { self.without_a_match() } else { Ok(Outcome::Many(copies)) }
    }

    fn targets(&self) -> Vec<Arc<str>> {
        let rest = match &self.otherwise {
            Otherwise::To(name) => Some(name.as_str().into()),
            Otherwise::Skip | Otherwise::Pass | Otherwise::Fail => None,
        };
        self.routes.iter().map(|(name, _)| Arc::clone(name)).chain(rest).collect()
    }

    fn diverts(&self) -> bool {
        self.otherwise != Otherwise::Pass
    }
}
