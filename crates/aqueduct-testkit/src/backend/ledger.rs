use std::collections::{BTreeMap, HashMap};

use super::account::{KeyCount, KeyTotals};
use super::answer::Answer;
use super::script::Keys;

/// What became of each key, and the answers that are kept for them. Never more than a given number of keys, and no more
/// than [`KEPT_BYTES_MAX`] of answers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Box<str>, Entry>,
    kept_bytes: usize,
    totals: KeyTotals,
}

#[derive(Debug, Default)]
struct Entry {
    count: KeyCount,
    kept: Option<(Fingerprint, Answer)>,
}

/// Stands for what was asked under a key: who uses the key again for something else has made a mistake.
pub(super) type Fingerprint = u64;

/// A key that does not fit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Keys,
    Bytes,
}

/// What a call with a key gets.
#[derive(Debug)]
pub(super) enum Settled {
    /// It was carried out.
    Fresh(Answer),
    /// It was carried out before.
    Kept(Answer),
    /// The key stands for something else.
    Differs,
    Full(Full),
}

/// Half a kilobyte for each of the default number of keys, and some; pages are not counted, for they are there anyway.
pub(super) const KEPT_BYTES_MAX: usize = 64 << 20;

impl Ledger {
    /// Notes that a key has come.
    pub(super) fn came(&mut self, key: &str, keys_max: usize) -> Result<(), Full> {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.count.came += 1;
            self.totals.repeats += 1;
            return Ok(());
        }
        if self.entries.len() >= keys_max {
            return Err(Full::Keys);
        }
        let entry = Entry { count: KeyCount { came: 1, ..KeyCount::default() }, kept: None };
        self.entries.insert(key.into(), entry);
        self.totals.keys += 1;
        Ok(())
    }

    /// Carries a key out with this answer, or gives the one that was kept. Nothing comes between the look and the note.
    pub(super) fn settle(
        &mut self,
        rule: Keys,
        key: &str,
        fingerprint: Fingerprint,
        answer: Answer,
    ) -> Settled {
        let Some(entry) = self.entries.get_mut(key) else { return Settled::Full(Full::Keys) };
        match &entry.kept {
            Some((asked, _)) if rule == Keys::Honoured && *asked != fingerprint => return Settled::Differs,
            Some((_, kept)) if rule == Keys::Honoured => {
                entry.count.kept_answers += 1;
                self.totals.kept_answers += 1;
                return Settled::Kept(kept.clone());
            }
            _ => {}
        }
        if !answer.status.is_success() {
            return Settled::Fresh(answer);
        }
        if rule == Keys::Honoured {
            let bytes = self.kept_bytes.saturating_add(answer.own_bytes());
            if bytes > KEPT_BYTES_MAX {
                return Settled::Full(Full::Bytes);
            }
            self.kept_bytes = bytes;
            entry.kept = Some((fingerprint, answer.clone()));
        }
        entry.count.carried_out += 1;
        self.totals.carried_out += u64::from(entry.count.carried_out == 1);
        self.totals.repeated += u64::from(entry.count.carried_out == 2);
        Settled::Fresh(answer)
    }

    pub(super) fn totals(&self) -> KeyTotals {
        self.totals
    }

    pub(super) fn count(&self, key: &str) -> Option<KeyCount> {
        self.entries.get(key).map(|entry| entry.count)
    }

    pub(super) fn counts(&self) -> BTreeMap<String, KeyCount> {
        self.entries.iter().map(|(key, entry)| (String::from(&**key), entry.count)).collect()
    }
}
