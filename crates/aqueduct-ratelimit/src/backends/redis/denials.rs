use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::DefaultHashBuilder;

/// Keys that were denied, and until when, in a fixed number of places. A newcomer takes the place that its hash leads to.
#[derive(Debug)]
pub(super) struct Denials {
    hasher: DefaultHashBuilder,
    places: Mutex<Box<[Denial]>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Denial {
    /// A hash of 64 bits with a seed of its own stands for the key.
    hash: u64,
    /// So many were denied; fewer may be there.
    tokens: u64,
    /// Nanoseconds of the limiter's clock.
    until: u64,
}

impl Denials {
    pub(super) fn new(places: usize) -> Self {
        let places = vec![Denial::default(); places].into_boxed_slice();
        Self { hasher: DefaultHashBuilder::default(), places: Mutex::new(places) }
    }

    /// How many nanoseconds it makes no sense to ask for so many.
    pub(super) fn find(&self, key: &str, tokens: u64, now: u64) -> Option<u64> {
        let hash = self.hasher.hash_one(key);
        let mut places = self.lock();
        let denial = place(&mut places, hash)?;
        (denial.hash == hash && tokens >= denial.tokens && now < denial.until).then(|| denial.until - now)
    }

    pub(super) fn put(&self, key: &str, tokens: u64, until: u64) {
        let hash = self.hasher.hash_one(key);
        if let Some(denial) = place(&mut self.lock(), hash) {
            *denial = Denial { hash, tokens, until };
        }
    }

    pub(super) fn forget(&self, key: &str) {
        let hash = self.hasher.hash_one(key);
        if let Some(denial) = place(&mut self.lock(), hash).filter(|denial| denial.hash == hash) {
            *denial = Denial::default();
        }
    }

    pub(super) fn forget_all(&self) {
        self.lock().fill(Denial::default());
    }

    /// Nothing under this lock panics.
    fn lock(&self) -> MutexGuard<'_, Box<[Denial]>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(places: &mut [Denial], hash: u64) -> Option<&mut Denial> {
    let at = hash.checked_rem(places.len() as u64)?;
    places.get_mut(usize::try_from(at).ok()?)
}
