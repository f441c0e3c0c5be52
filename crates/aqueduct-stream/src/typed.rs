//! Closures over Rust types as stages.

use std::any::Any;
use std::borrow::Cow;
use std::marker::PhantomData;

use aqueduct_core::{Item, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StageError;
use crate::stage::{Outcome, Stage};

/// Reads the payload as `T`: the very value when the stage before made one, else from its JSON.
fn with_payload<T: DeserializeOwned + Any, R>(
    item: &Item,
    work: impl FnOnce(&T) -> Result<R, StageError>,
) -> Result<R, StageError> {
    if let Some(value) = item.payload.typed::<T>() {
        return work(value);
    }
    let record = item.payload.record()?;
    // As text: serde then need not check every string of it for UTF-8 again.
    let value: T = serde_json::from_str(record.as_text()).map_err(|error| {
        StageError::permanent(format!("the item is not a {}", short_type_name::<T>())).with_source(error)
    })?;
    work(&value)
}

fn short_type_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

pub(crate) struct Map<T, F> {
    work: F,
    reads: PhantomData<fn(T)>,
}

impl<T, F> Map<T, F> {
    pub(crate) fn new(work: F) -> Self {
        Self { work, reads: PhantomData }
    }
}

impl<T, U, F> Stage for Map<T, F>
where
    T: DeserializeOwned + Any,
    U: Serialize + Any + Send + Sync,
    F: Fn(&T) -> Result<U, StageError> + Send + Sync,
{
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        with_payload(item, |value: &T| {
            (self.work)(value).map(|result| Outcome::Emit(Payload::Typed(Box::new(result))))
        })
    }
}

pub(crate) struct Filter<T, F> {
    keeps: F,
    reads: PhantomData<fn(T)>,
}

impl<T, F> Filter<T, F> {
    pub(crate) fn new(keeps: F) -> Self {
        Self { keeps, reads: PhantomData }
    }
}

impl<T, F> Stage for Filter<T, F>
where
    T: DeserializeOwned + Any,
    F: Fn(&T) -> bool + Send + Sync,
{
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        with_payload(item, |value: &T| {
            Ok(if (self.keeps)(value) { Outcome::Keep } else { Outcome::Skip(Cow::Borrowed("filtered out")) })
        })
    }
}
