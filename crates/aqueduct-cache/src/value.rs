use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be kept below memory: it is written as bytes, and read again.
///
/// Hits clone it; what is large stands behind an `Arc`, as in [`Json`].
pub trait Value: Clone + Send + Sync + 'static {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being written; it is then kept in memory only.
    fn encode(&self) -> Result<Bytes, Box<dyn Error + Send + Sync>>;

    /// Reads it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read, a value of an older version of the program for example; it then counts as missing.
    fn decode(bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>>;
}

/// Bytes are kept as they are.
impl Value for Bytes {
    fn encode(&self) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(self.clone())
    }

    fn decode(bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(bytes)
    }
}

/// A value that is kept as JSON. Cheap to clone.
pub struct Json<T>(Arc<T>);

impl<T> Json<T> {
    /// The value, to be kept.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: PartialEq> PartialEq for Json<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for Json<T> {
    fn encode(&self) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::to_vec(&*self.0)?.into())
    }

    fn decode(bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::new(serde_json::from_slice(&bytes)?))
    }
}

/// How values of a namespace are written below memory, if they are.
pub(crate) struct Codec<V> {
    pub(crate) encode: fn(&V) -> Result<Bytes, Box<dyn Error + Send + Sync>>,
    pub(crate) decode: fn(Bytes) -> Result<V, Box<dyn Error + Send + Sync>>,
}

impl<V: Value> Codec<V> {
    pub(crate) fn new() -> Self {
        Self { encode: V::encode, decode: V::decode }
    }
}
