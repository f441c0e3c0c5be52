use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::{Counter, Definition, Gauge, Histogram, Kind, Scale, SeriesError, Value};

/// The value of every label of the series that takes what a full family refuses.
pub const OVERFLOW: &str = "overflow";

/// One metric with its label names; gives the handle of each of its series. Cheap to clone.
#[derive(Debug)]
pub struct Family<S: Series>(Arc<Inner<S>>);

/// A handle that a family can hold: [`Counter`], [`Gauge`] or [`Histogram`].
pub trait Series: sealed::Read {}

pub(crate) mod sealed {
    use super::{Kind, Value, fmt};

    /// What a family needs of its handles. Out of reach, so that the three kinds stay the only ones.
    pub trait Read: Clone + Default + fmt::Debug + Send + Sync + 'static {
        const KIND: Kind;
        fn value(&self) -> Value;
    }
}

/// The values of a family's labels, in their order.
pub(crate) type LabelValues = Box<[Box<str>]>;

#[derive(Debug)]
struct Inner<S> {
    definition: Definition,
    scale: Option<Scale>,
    series_max: usize,
    rejected: Counter,
    /// Guards which series there are, never their figures: a handle is moved without it. A snapshot holds it
    /// while it copies pointers.
    series: RwLock<BTreeMap<LabelValues, S>>,
    /// Made when the first label set is refused.
    overflow: OnceLock<S>,
}

/// A label value comes from a closed set of names; no name of ours is longer.
const VALUE_BYTES_MAX: usize = 128;

// ---- Family ----

impl<S: Series> Family<S> {
    pub(crate) fn new(
        definition: Definition,
        scale: Option<Scale>,
        series_max: usize,
        rejected: Counter,
    ) -> Self {
        Self(Arc::new(Inner {
            definition,
            scale,
            series_max,
            rejected,
            series: RwLock::default(),
            overflow: OnceLock::new(),
        }))
    }

    /// Gives the handle of the series with these label values, and makes the series when it is new.
    ///
    /// A full family gives the handle of its overflow series and counts the refusal. Keep the handle: this call
    /// compares strings and takes a lock.
    ///
    /// # Errors
    ///
    /// [`SeriesError`] when the number of values is not that of the labels, or a value is over 128 bytes.
    pub fn series(&self, values: &[&str]) -> Result<S, SeriesError> {
        self.check(values)?;
        let inner = &*self.0;
        let overflow = || inner.overflow.get_or_init(S::default).clone();
        if !values.is_empty() && values.iter().all(|value| *value == OVERFLOW) {
            return Ok(overflow());
        }
        let key: LabelValues = values.iter().map(|value| Box::from(*value)).collect();
        let known = inner.series.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let mut series = inner.series.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have made it between the two locks.
        if series.len() >= inner.series_max && !series.contains_key(&key) {
            inner.rejected.increment();
            return Ok(overflow());
        }
        Ok(series.entry(key).or_default().clone())
    }

    /// Gives the definition that this family was registered with.
    #[must_use]
    pub fn definition(&self) -> Definition {
        self.0.definition
    }

    pub(crate) fn scale(&self) -> Option<Scale> {
        self.0.scale
    }

    /// Every series with its label values, sorted by them, the overflow series last.
    pub(crate) fn values(&self) -> Vec<(LabelValues, Value)> {
        let series: Vec<_> = {
            let guard = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
            guard.iter().map(|(values, series)| (values.clone(), series.clone())).collect()
        };
        // The lock is free again: reading a histogram takes far longer than copying its pointer.
        let overflow = self.0.overflow.get().map(|series| {
            let values: LabelValues = self.0.definition.labels.iter().map(|_| Box::from(OVERFLOW)).collect();
            (values, series.clone())
        });
        series.into_iter().chain(overflow).map(|(values, series)| (values, series.value())).collect()
    }

    fn check(&self, values: &[&str]) -> Result<(), SeriesError> {
        let Definition { name: metric, labels, .. } = self.0.definition;
        if values.len() != labels.len() {
            return Err(SeriesError::LabelCount { metric, expected: labels.len(), given: values.len() });
        }
        match labels.iter().zip(values).find(|(_, value)| value.len() > VALUE_BYTES_MAX) {
            Some((label, value)) => Err(SeriesError::ValueLength {
                metric,
                label,
                bytes: value.len(),
                bytes_max: VALUE_BYTES_MAX,
            }),
            None => Ok(()),
        }
    }
}

impl<S: Series> Clone for Family<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

// ---- the three kinds ----

impl Series for Counter {}
impl Series for Gauge {}
impl Series for Histogram {}

impl sealed::Read for Counter {
    const KIND: Kind = Kind::Counter;
    fn value(&self) -> Value {
        Value::Counter(self.value())
    }
}

impl sealed::Read for Gauge {
    const KIND: Kind = Kind::Gauge;
    fn value(&self) -> Value {
        Value::Gauge(self.value())
    }
}

impl sealed::Read for Histogram {
    const KIND: Kind = Kind::Histogram;
    fn value(&self) -> Value {
        Value::Histogram(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a snapshot locks, moving a handle goes on. Were there a lock in it, this test would hang.
    #[test]
    fn a_handle_moves_while_its_family_is_locked() {
        let definition = Definition { name: "a_total", help: "", labels: &[] };
        let family = Family::<Counter>::new(definition, None, 1, Counter::default());
        let counter = family.series(&[]).expect("there are no labels");
        let _locked = family.0.series.write().expect("nobody panicked");
        counter.increment();
        assert_eq!(counter.value(), 1);
    }
}
