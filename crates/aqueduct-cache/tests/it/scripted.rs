//! A level that does what a test tells it, and shows what is in it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::api::{Invalidations, Level, LevelError, Place, Scope, Stored};

#[derive(Debug)]
pub(crate) struct Scripted {
    mood: AtomicU8,
    pub(crate) calls: AtomicU64,
    pub(crate) values: Mutex<HashMap<(String, Vec<u8>), Stored>>,
    pub(crate) invalidations: Mutex<HashMap<String, Invalidations>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mood {
    Well,
    Fails,
    Hangs,
    /// Takes no writes.
    Refuses,
    /// Does what it is asked for, and then says that it failed.
    FailsLate,
    /// Does what it is asked for, and never says so.
    HangsLate,
}

pub(crate) const MOODS: [Mood; 6] =
    [Mood::Well, Mood::Fails, Mood::Hangs, Mood::Refuses, Mood::FailsLate, Mood::HangsLate];

impl Scripted {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            mood: AtomicU8::new(0),
            calls: AtomicU64::new(0),
            values: Mutex::default(),
            invalidations: Mutex::default(),
        })
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn value(&self, place: Place<'_>) -> Option<Stored> {
        self.values.lock().unwrap().get(&(place.namespace.to_owned(), place.key.to_vec())).cloned()
    }

    async fn act<T>(&self, is_write: bool, act: impl FnOnce() -> T + Send) -> Result<T, LevelError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // A round trip, in which others come to their turn.
        tokio::task::yield_now().await;
        match MOODS[usize::from(self.mood.load(Ordering::SeqCst))] {
            Mood::Well => Ok(act()),
            Mood::Fails => Err(LevelError::Away { level: "scripted", source: "told to".into() }),
            Mood::Hangs => std::future::pending().await,
            Mood::Refuses if is_write => {
                Err(LevelError::Refused { level: "scripted", source: "told to".into() })
            }
            Mood::Refuses => Ok(act()),
            Mood::FailsLate => {
                act();
                Err(LevelError::Away { level: "scripted", source: "told to".into() })
            }
            Mood::HangsLate => {
                drop(act());
                std::future::pending().await
            }
        }
    }
}

fn key(place: Place<'_>) -> (String, Vec<u8>) {
    (place.namespace.to_owned(), place.key.to_vec())
}

#[async_trait]
impl Level for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn get(&self, place: Place<'_>) -> Result<Option<Stored>, LevelError> {
        self.act(false, || self.value(place)).await
    }

    async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, LevelError> {
        self.act(false, || keys.iter().map(|key| self.value(Place { namespace, key })).collect()).await
    }

    async fn set(&self, place: Place<'_>, stored: &Stored) -> Result<(), LevelError> {
        self.act(true, || drop(self.values.lock().unwrap().insert(key(place), stored.clone()))).await
    }

    async fn remove(&self, place: Place<'_>) -> Result<(), LevelError> {
        self.act(true, || drop(self.values.lock().unwrap().remove(&key(place)))).await
    }

    async fn invalidations(&self, namespace: &str) -> Result<Invalidations, LevelError> {
        let known = || self.invalidations.lock().unwrap().get(namespace).cloned().unwrap_or_default();
        self.act(false, known).await
    }

    async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Result<u64, LevelError> {
        let write = || {
            let mut all = self.invalidations.lock().unwrap();
            let known = all.entry(namespace.to_owned()).or_default();
            known.origin = 7;
            let edition = edition.max(known.edition() + 1);
            known.add(scope.clone(), edition);
            edition
        };
        self.act(true, write).await
    }

    async fn ping(&self) -> Result<(), LevelError> {
        self.act(false, || ()).await
    }
}

/// Lets others go on until something holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came to hold");
}

/// Does nothing for so long that whatever can go on without the clock has gone on.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn value(text: impl std::fmt::Display, edition: u64) -> Stored {
    Stored { value: Some(text.to_string().into_bytes().into()), edition, ..Stored::default() }
}
