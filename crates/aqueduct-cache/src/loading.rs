use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::LoadError;
use crate::namespace::{Namespace, SetOptions};
use crate::prediction::Prediction;

/// A [`Namespace`] that knows how its values are loaded: it can load what is about to expire, what will be asked for next, and
/// what was popular before a restart. Cheap to clone.
///
/// What it loads in the background it loads on tasks of its own, [`BACKGROUND_MAX`](Self::BACKGROUND_MAX) at once; more is left
/// until somebody asks for it. They end with the last clone.
///
/// # Example
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use aqueduct_cache::{Cache, Loading, NamespaceConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let config = NamespaceConfig::builder().ttl(Duration::from_secs(30)).refresh_ahead(0.2).build()?;
/// let space = Cache::builder().build().in_memory::<usize>("lengths", config)?;
/// let lengths = Loading::new(space, |key| async move { Ok::<_, Infallible>(Some(key.len())) });
/// assert_eq!(lengths.get("three").await?, Some(5));
/// # Ok(())
/// # }
/// ```
pub struct Loading<V>(Arc<Shared<V>>);

struct Shared<V> {
    namespace: Namespace<V>,
    loader: Arc<Loader<V>>,
    places: Arc<Semaphore>,
    /// Guards the tasks. Nothing waits under it.
    tasks: Mutex<JoinSet<()>>,
    /// Guards what is known of which key follows which. Nothing waits under it.
    prediction: Option<Mutex<Prediction>>,
    refreshed: AtomicU64,
    predicted: AtomicU64,
}

type Loader<V> = dyn Fn(Box<[u8]>) -> Load<V> + Send + Sync;
type Load<V> = Pin<Box<dyn Future<Output = Result<Option<V>, Box<dyn Error + Send + Sync>>> + Send>>;

/// What was loaded in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadingStats {
    /// Values loaded again ahead of their end.
    pub refreshed: u64,
    /// Values loaded because they would be asked for next.
    pub predicted: u64,
}

/// What came of a warming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warmed {
    /// Keys that were there already, on one level or another.
    pub present: u64,
    /// Keys that were loaded.
    pub loaded: u64,
    /// Keys that could not be.
    pub failed: u64,
}

impl<V: Clone + Send + Sync + 'static> Loading<V> {
    /// How many values are loaded in the background at once.
    pub const BACKGROUND_MAX: usize = 16;

    /// A namespace whose values are loaded so.
    pub fn new<F, E>(namespace: Namespace<V>, load: impl Fn(Box<[u8]>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::with(namespace, load, None)
    }

    /// The same, and what will be asked for next is loaded before: for keys that come in the same order again and again. It
    /// learns that order, and acts upon it only where that would have brought two points of hit ratio of late.
    pub fn predicting<F, E>(
        namespace: Namespace<V>,
        load: impl Fn(Box<[u8]>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::with(namespace, load, Some(Mutex::new(Prediction::new())))
    }

    fn with<F, E>(
        namespace: Namespace<V>,
        load: impl Fn(Box<[u8]>) -> F + Send + Sync + 'static,
        prediction: Option<Mutex<Prediction>>,
    ) -> Self
    where
        F: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let loader = move |key| -> Load<V> {
            let load = load(key);
            Box::pin(async move { load.await.map_err(Into::into) })
        };
        Self(Arc::new(Shared {
            namespace,
            loader: Arc::new(loader),
            places: Arc::new(Semaphore::new(Self::BACKGROUND_MAX)),
            tasks: Mutex::default(),
            prediction,
            refreshed: AtomicU64::new(0),
            predicted: AtomicU64::new(0),
        }))
    }

    /// The namespace, for what needs no loader.
    #[must_use]
    pub fn namespace(&self) -> &Namespace<V> {
        &self.0.namespace
    }

    /// Gives the value under a key, loaded if need be; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`Namespace::get_with`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, where something is loaded in the background.
    ///
    /// # Cancel safety
    ///
    /// As [`Namespace::get_with`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, LoadError> {
        let key = key.as_ref();
        let inner = self.0.namespace.inner();
        let found = inner.fresh_in_memory(key);
        if found.as_ref().is_some_and(|(_, is_due)| *is_due) && !inner.is_loading(key) {
            self.in_background(key, Why::Refresh);
        }
        if let Some(prediction) = &self.0.prediction {
            let mut prediction = lock(prediction);
            let next = prediction.asked(key, |next| inner.is_in_memory(next));
            let next = next.filter(|_| prediction.is_worth_it());
            drop(prediction);
            if let Some(next) = next.filter(|next| !inner.is_loading(next)) {
                self.in_background(&next, Why::Prediction);
            }
        }
        match found {
            Some((value, _)) => Ok(value),
            None => {
                let load = async { (self.0.loader)(key.into()).await };
                inner.get_or_load(key, SetOptions::new(), load).await
            }
        }
    }

    /// Loads keys that are not there, one after the other and not faster than so many a second, in the order given: the most
    /// popular first, as [`Namespace::hottest`] gives them. `progress` is told after each.
    ///
    /// # Cancel safety
    ///
    /// Dropped, what was loaded stays.
    pub async fn warm<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        per_second: u32,
        mut progress: impl FnMut(Warmed),
    ) -> Warmed {
        let inner = self.0.namespace.inner();
        let clock = inner.clock();
        let pause = Duration::from_secs(1) / per_second.max(1);
        let mut warmed = Warmed::default();
        let mut next = clock.now();
        for key in keys {
            let key = key.as_ref();
            if inner.is_found(key).await {
                warmed.present += 1;
            } else {
                clock.sleep(next.since(clock.now())).await;
                next = clock.now().after(pause);
                let load = async { (self.0.loader)(key.into()).await };
                match inner.get_or_load(key, SetOptions::new(), load).await {
                    Ok(_) => warmed.loaded += 1,
                    Err(_) => warmed.failed += 1,
                }
            }
            progress(warmed);
        }
        warmed
    }

    /// Waits until nothing is loaded in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it ends what is loaded in the background.
    pub async fn settle(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *lock(&self.0.tasks));
            if tasks.is_empty() {
                return;
            }
            // One that panicked has said so; the others are not held up by it.
            while tasks.join_next().await.is_some() {}
        }
    }

    /// Gives what was loaded in the background.
    #[must_use]
    pub fn stats(&self) -> LoadingStats {
        LoadingStats {
            refreshed: self.0.refreshed.load(Ordering::Relaxed),
            predicted: self.0.predicted.load(Ordering::Relaxed),
        }
    }

    fn in_background(&self, key: &[u8], why: Why) {
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else { return };
        let inner = Arc::clone(self.0.namespace.inner());
        let (loader, key): (_, Box<[u8]>) = (Arc::clone(&self.0.loader), key.into());
        let count = match why {
            Why::Refresh => &self.0.refreshed,
            Why::Prediction => &self.0.predicted,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut tasks = lock(&self.0.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let load = async { loader(key.clone()).await };
            // What is predicted may be on a level below, and then it is in memory after this look.
            if why == Why::Refresh || !inner.is_found(&key).await {
                inner.load_ahead(&key, load).await;
            }
            drop(place);
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Refresh,
    Prediction,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V> Clone for Loading<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for Loading<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loading").field("namespace", &self.0.namespace).finish_non_exhaustive()
    }
}
