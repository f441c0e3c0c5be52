//! Answers that must not be asked for again.
//!
//! What a journalled stage makes of an item is durable before anything else happens to it, and stays until the commit
//! that has what became of the item. A run that finds an answer takes it instead of asking. The committer writes the
//! answers, since it alone uses the ledger: all that wait become durable with one sync.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use aqueduct_core::json::JsonError;
use aqueduct_core::{Item, Payload, Record};
use aqueduct_store::{JournalEntry, Store};
use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::work::Message;
use crate::error::{RunError, StageError};
use crate::stage::{Emission, Outcome, Step};

/// The answers of earlier runs, and those on their way into the ledger.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// What no commit has consumed, by stage and item. It never changes: an item is asked about once a run.
    kept: HashMap<(String, String), Vec<u8>>,
    /// Answers that wait for the committer, at most one for each item that a stage works on. Held for moments only.
    waiting: Mutex<Vec<Waiting>>,
}

/// An answer that somebody waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    entry: JournalEntry,
    /// Dropped unanswered when the answer is not kept.
    kept: oneshot::Sender<()>,
}

/// The way of answers to the committer.
#[derive(Clone, Copy)]
pub(super) struct Scribe<'a> {
    pub(super) journal: &'a Journal,
    pub(super) committer: &'a Sender<Message>,
}

/// A stage's answer as it is kept. JSON, so that a person can read it in the ledger.
#[derive(Serialize, Deserialize)]
struct Entry {
    /// The SHA-256 of the item that was asked about. An answer to another item of the same name is no answer.
    of: String,
    outcome: Kept,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    Keep,
    Emit(Box<RawValue>),
    Send(usize),
    Skip(String),
    Many(Vec<KeptEmission>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptEmission {
    Keep,
    Next(Box<RawValue>),
    To(String, Box<RawValue>),
}

impl Journal {
    /// Reads what earlier runs have kept, if any stage of this one would ask.
    pub(super) async fn read(
        steps: &[Step],
        store: &mut dyn Store,
        pipeline: &str,
    ) -> Result<Self, RunError> {
        if !steps.iter().any(|step| step.journalled) {
            return Ok(Self::default());
        }
        let entries = store.journalled(pipeline).await?;
        let kept = entries.into_iter().map(|entry| ((entry.stage, entry.item_id), entry.value)).collect();
        Ok(Self { kept, waiting: Mutex::default() })
    }

    /// What waits to be written.
    pub(super) fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Scribe<'_> {
    /// The answer that was kept for this item, if there is one.
    pub(super) fn recall(&self, stage: &str, item: &Item) -> Result<Option<Outcome>, StageError> {
        if self.journal.kept.is_empty() {
            return Ok(None);
        }
        let key = (stage.to_owned(), item.id.to_string());
        let Some(value) = self.journal.kept.get(&key) else { return Ok(None) };
        let unreadable = |error: &dyn std::error::Error| {
            let message = format!(
                "the journalled answer of stage {stage} to item {} cannot be read; purge the journal to ask again: {error}",
                key.1
            );
            StageError::stop(message)
        };
        let entry: Entry = serde_json::from_slice(value).map_err(|error| unreadable(&error))?;
        if entry.of != fingerprint(item)? {
            return Ok(None);
        }
        entry.outcome.into_outcome().map(Some).map_err(|error| unreadable(&error))
    }

    /// Keeps an answer, durably. An error means that it is not kept and the run stops.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may or may not keep the answer.
    pub(super) async fn keep(&self, stage: &str, item: &Item, outcome: &Outcome) -> Result<(), StageError> {
        let entry = Entry { of: fingerprint(item)?, outcome: Kept::of(outcome)? };
        let value = serde_json::to_vec(&entry)
            .map_err(|error| StageError::permanent("the answer cannot be journalled").with_source(error))?;
        let entry = JournalEntry { stage: stage.to_owned(), item_id: item.id.to_string(), call: 0, value };
        let (kept, answer) = oneshot::channel();
        self.journal.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { entry, kept });
        // A full channel has news for the committer anyway, and it looks here after it has read them.
        let _ = self.committer.try_send(Message::Journal);
        answer.await.map_err(|_| StageError::stop("the answer could not be journalled"))
    }
}

impl Waiting {
    /// The entries, and who waits for them.
    pub(super) fn split(all: Vec<Self>) -> (Vec<JournalEntry>, Vec<oneshot::Sender<()>>) {
        all.into_iter().map(|waiting| (waiting.entry, waiting.kept)).unzip()
    }
}

impl Kept {
    fn of(outcome: &Outcome) -> Result<Self, StageError> {
        Ok(match outcome {
            Outcome::Keep => Self::Keep,
            Outcome::Emit(payload) => Self::Emit(raw(payload)?),
            Outcome::Send(target) => Self::Send(*target),
            Outcome::Skip(reason) => Self::Skip(reason.to_string()),
            Outcome::Many(emissions) => {
                Self::Many(emissions.iter().map(KeptEmission::of).collect::<Result<_, _>>()?)
            }
        })
    }

    fn into_outcome(self) -> Result<Outcome, JsonError> {
        Ok(match self {
            Self::Keep => Outcome::Keep,
            Self::Emit(raw) => Outcome::Emit(payload(&raw)?),
            Self::Send(target) => Outcome::Send(target),
            Self::Skip(reason) => Outcome::Skip(reason.into()),
            Self::Many(emissions) => {
                let emissions = emissions.into_iter().map(KeptEmission::into_emission);
                Outcome::Many(emissions.collect::<Result<_, _>>()?)
            }
        })
    }
}

impl KeptEmission {
    fn of(emission: &Emission) -> Result<Self, StageError> {
        Ok(match emission {
            Emission::Keep => Self::Keep,
            Emission::Next(payload) => Self::Next(raw(payload)?),
            Emission::To(target, payload) => Self::To(target.to_string(), raw(payload)?),
        })
    }

    fn into_emission(self) -> Result<Emission, JsonError> {
        Ok(match self {
            Self::Keep => Emission::Keep,
            Self::Next(raw) => Emission::Next(payload(&raw)?),
            Self::To(target, raw) => Emission::To(target.into(), payload(&raw)?),
        })
    }
}

fn raw(payload: &Payload) -> Result<Box<RawValue>, StageError> {
    let mut bytes = Vec::new();
    payload.write_json(&mut bytes)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| StageError::permanent("the answer cannot be journalled as JSON").with_source(error))
}

fn payload(raw: &RawValue) -> Result<Payload, JsonError> {
    Record::parse(raw.get().as_bytes().to_vec()).map(Payload::Record)
}

/// The SHA-256 of what an item carries, in hexadecimal digits.
fn fingerprint(item: &Item) -> Result<String, StageError> {
    let mut bytes = Vec::new();
    item.payload.write_json(&mut bytes)?;
    let digest = Sha256::digest(&bytes);
    Ok(digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}
