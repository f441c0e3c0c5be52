use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use crate::metrics::REJECTED_SETS;
use crate::{
    Config, ConfigError, Counter, Definition, Family, FamilySnapshot, Gauge, Histogram, Kind, RegisterError,
    Scale, Series, SeriesSnapshot, Snapshot,
};

/// Holds families by name. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    rejected: Family<Counter>,
    /// Guards which families there are. Nobody who holds a family or a handle ever takes it.
    families: RwLock<BTreeMap<&'static str, AnyFamily>>,
}

#[derive(Clone, Debug)]
enum AnyFamily {
    Counter(Family<Counter>),
    Gauge(Family<Gauge>),
    Histogram(Family<Histogram>),
}

impl Registry {
    /// Makes a registry without families of yours; its own count of refused label sets is there already.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field, its value and the allowed range.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self::checked(config.check()?))
    }

    /// Registers a counter, or gives the family that is registered with the same definition.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] when the definition breaks a rule or its name is taken by another.
    pub fn counter(&self, definition: &Definition) -> Result<Family<Counter>, RegisterError> {
        self.register(definition, None, AnyFamily::Counter, AnyFamily::as_counter)
    }

    /// Registers a gauge, or gives the family that is registered with the same definition.
    ///
    /// # Errors
    ///
    /// As for [`counter`](Self::counter).
    pub fn gauge(&self, definition: &Definition) -> Result<Family<Gauge>, RegisterError> {
        self.register(definition, None, AnyFamily::Gauge, AnyFamily::as_gauge)
    }

    /// Registers a histogram, or gives the family that is registered with the same definition and scale.
    ///
    /// # Errors
    ///
    /// As for [`counter`](Self::counter), and when the scale has no unit or its bounds do not rise.
    pub fn histogram(
        &self,
        definition: &Definition,
        scale: Scale,
    ) -> Result<Family<Histogram>, RegisterError> {
        scale.check(definition.name)?;
        self.register(definition, Some(scale), AnyFamily::Histogram, AnyFamily::as_histogram)
    }

    /// Copies every figure.
    ///
    /// # Complexity
    ///
    /// Linear in the series; a histogram counts as about 4,000 of the others.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let families: Vec<_> = {
            let guard = self.0.families.read().unwrap_or_else(PoisonError::into_inner);
            guard.values().cloned().collect()
        };
        Snapshot { families: families.iter().map(AnyFamily::snapshot).collect() }
    }

    fn checked(config: Config) -> Self {
        // What this one family would refuse is counted nowhere: it has one series for each family.
        let rejected = Family::new(REJECTED_SETS, None, config.series_max, Counter::default());
        let families = BTreeMap::from([(REJECTED_SETS.name, AnyFamily::Counter(rejected.clone()))]);
        Self(Arc::new(Inner { config, rejected, families: RwLock::new(families) }))
    }

    fn register<S: Series>(
        &self,
        definition: &Definition,
        scale: Option<Scale>,
        wrap: fn(Family<S>) -> AnyFamily,
        unwrap: fn(&AnyFamily) -> Option<&Family<S>>,
    ) -> Result<Family<S>, RegisterError> {
        definition.check(S::KIND)?;
        let mut families = self.0.families.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(registered) = families.get(definition.name) {
            return match unwrap(registered) {
                Some(family) => same(family, definition, scale),
                None => Err(conflict(definition, "kind", &registered.kind(), &S::KIND)),
            };
        }
        let rejected = match definition.labels {
            // One series at most, and no set that could be refused.
            [] => Counter::default(),
            // One label and a checked name: there is nothing in it that could fail.
            _ => self.0.rejected.series(&[definition.name]).unwrap_or_default(),
        };
        let family = Family::new(*definition, scale, self.0.config.series_max, rejected);
        families.insert(definition.name, wrap(family.clone()));
        Ok(family)
    }
}

impl Default for Registry {
    /// A registry with the default configuration, which is within its own bounds.
    fn default() -> Self {
        Self::checked(Config::default())
    }
}

fn same<S: Series>(
    family: &Family<S>,
    given: &Definition,
    scale: Option<Scale>,
) -> Result<Family<S>, RegisterError> {
    let registered = family.definition();
    if registered.labels != given.labels {
        return Err(conflict(given, "labels", &registered.labels, &given.labels));
    }
    if registered.help != given.help {
        return Err(conflict(given, "help", &registered.help, &given.help));
    }
    if family.scale() != scale {
        return Err(conflict(given, "scale", &family.scale(), &scale));
    }
    Ok(family.clone())
}

fn conflict(
    definition: &Definition,
    field: &'static str,
    registered: &dyn Debug,
    given: &dyn Debug,
) -> RegisterError {
    RegisterError::Conflict {
        name: definition.name,
        field,
        registered: format!("{registered:?}"),
        given: format!("{given:?}"),
    }
}

// ---- AnyFamily ----

impl AnyFamily {
    fn as_counter(&self) -> Option<&Family<Counter>> {
        if let Self::Counter(family) = self { Some(family) } else { None }
    }

    fn as_gauge(&self) -> Option<&Family<Gauge>> {
        if let Self::Gauge(family) = self { Some(family) } else { None }
    }

    fn as_histogram(&self) -> Option<&Family<Histogram>> {
        if let Self::Histogram(family) = self { Some(family) } else { None }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Histogram(_) => Kind::Histogram,
        }
    }

    fn snapshot(&self) -> FamilySnapshot {
        match self {
            Self::Counter(family) => snapshot(family),
            Self::Gauge(family) => snapshot(family),
            Self::Histogram(family) => snapshot(family),
        }
    }
}

fn snapshot<S: Series>(family: &Family<S>) -> FamilySnapshot {
    let series = family.values().into_iter().map(|(values, value)| SeriesSnapshot { values, value });
    FamilySnapshot {
        definition: family.definition(),
        kind: S::KIND,
        scale: family.scale(),
        series: series.collect(),
    }
}
