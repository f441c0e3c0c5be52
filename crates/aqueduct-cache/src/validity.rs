//! What of a namespace is still valid, as far as this process knows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use tokio::sync::Mutex;

use crate::invalidations::{Invalidations, Scope};
use crate::levels::Levels;

/// The invalidations of a namespace, numbered twice: by this process for memory and its disk, and by the shared level for what
/// is stored there. So invalidations go on where the shared level is away, and nothing stored there later is taken to be younger than
/// what others have invalidated meanwhile.
pub(crate) struct Validity {
    own: Numbered,
    shared: Numbered,
    /// The session in which the levels were asked last; [`NEVER`] before the first time, [`ASKING`] while they are asked.
    asked_in: AtomicU64,
    /// Whether it is known what earlier runs have invalidated on the disk.
    knows_disk: AtomicBool,
    /// Held while the levels are asked or told: one after the other.
    order: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// What the shared level began to remember with; 0 before it has.
    origin: u64,
}

/// No session.
const NEVER: u64 = u64::MAX;

/// No session either: those are odd, or nought.
const ASKING: u64 = u64::MAX - 1;

#[derive(Default)]
struct Numbered {
    known: RwLock<Invalidations>,
    /// A copy of its edition, for the look that nothing was invalidated since.
    edition: AtomicU64,
}

impl Validity {
    pub(crate) fn new() -> Self {
        Self {
            own: Numbered::default(),
            shared: Numbered::default(),
            asked_in: AtomicU64::new(NEVER),
            knows_disk: AtomicBool::new(false),
            order: Mutex::default(),
        }
    }

    /// The edition of memory and disk, for a load that begins now.
    pub(crate) fn edition(&self) -> u64 {
        self.own.edition()
    }

    /// The edition of the shared level, for a load that begins now.
    pub(crate) fn edition_shared(&self) -> u64 {
        self.shared.edition()
    }

    /// Tells whether what is in memory or on disk is valid.
    pub(crate) fn is_valid(&self, edition: u64, key: &[u8], tags: &[Box<str>]) -> bool {
        self.own.is_valid(edition, key, tags)
    }

    /// Tells whether what is on the shared level is valid. What is of a later edition than the level knows itself is not: it
    /// has lost its invalidations, or this process does not know the last of them yet.
    pub(crate) fn is_valid_shared(&self, edition: u64, key: &[u8], tags: &[Box<str>]) -> bool {
        edition <= self.shared.edition() && self.shared.is_valid(edition, key, tags)
    }

    /// Somebody else has invalidated something: the levels are asked again before they are believed.
    pub(crate) fn ask_again(&self) {
        self.asked_in.store(NEVER, Ordering::SeqCst);
    }

    /// Tells whether all that the levels know of invalidations is known here.
    pub(crate) fn is_up_to_date(&self, session: u64) -> bool {
        self.asked_in.load(Ordering::SeqCst) == session
    }

    /// Tells whether what is on the disk can be judged. Before that it may be anything that an earlier run has invalidated.
    pub(crate) fn knows_disk(&self) -> bool {
        self.knows_disk.load(Ordering::SeqCst)
    }

    /// Sees that what the levels know of invalidations is known here; `false` where the shared one does not answer.
    pub(crate) async fn ask(&self, levels: &Levels, namespace: &str) -> bool {
        let knows_disk = levels.disk().is_none() || self.knows_disk();
        if knows_disk && self.is_up_to_date(levels.session()) {
            return true;
        }
        let mut asked = self.order.lock().await;
        if let Some(disk) = levels.disk()
            && !self.knows_disk()
            && let Some(known) = disk.invalidations(namespace).await
        {
            self.own.merge(&known);
            self.knows_disk.store(true, Ordering::SeqCst);
        }
        let session = levels.session();
        if self.is_up_to_date(session) {
            return true;
        }
        // Nobody takes what is known here for all there is before the answer has come; and what is invalidated while the
        // question is under way makes it be asked again.
        self.asked_in.store(ASKING, Ordering::SeqCst);
        let Some(shared) = levels.shared() else {
            self.asked_in.store(session, Ordering::SeqCst);
            return true;
        };
        let Some(theirs) = shared.invalidations(namespace).await else {
            self.ask_again();
            return false;
        };
        let ours = self.shared.edition();
        for (scope, edition) in theirs.scopes() {
            if self.shared.add(&scope, edition) {
                let own = self.own.next(&scope);
                self.write_to_disk(levels, namespace, &scope, own).await;
            }
        }
        let began = std::mem::replace(&mut asked.origin, theirs.origin);
        if theirs.edition() < ours || began != 0 && began != theirs.origin {
            // It has lost them. What this process is about to store there would be younger than what others invalidate.
            self.write_to_shared(levels, namespace, &Scope::All).await;
        }
        // Unless somebody has said meanwhile that there is more to know.
        let _ = self.asked_in.compare_exchange(ASKING, session, Ordering::SeqCst, Ordering::SeqCst);
        true
    }

    /// Invalidates: in memory at once, and then on each level.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has invalidated what is in memory; the levels may not know.
    pub(crate) async fn invalidate(&self, levels: &Levels, namespace: &str, scope: &Scope) {
        self.own.next(scope);
        if levels.is_empty() {
            return;
        }
        self.ask(levels, namespace).await;
        let _order = self.order.lock().await;
        self.write_to_shared(levels, namespace, scope).await;
        // Again: what was found on the shared level meanwhile, and copied up, may be what this invalidates.
        let own = self.own.next(scope);
        self.write_to_disk(levels, namespace, scope, own).await;
    }

    async fn write_to_shared(&self, levels: &Levels, namespace: &str, scope: &Scope) {
        if let Some(shared) = levels.shared()
            && let Some(edition) = shared.invalidate(namespace, scope, self.shared.edition() + 1).await
        {
            self.shared.add(scope, edition);
        }
    }

    async fn write_to_disk(&self, levels: &Levels, namespace: &str, scope: &Scope, edition: u64) {
        if let Some(disk) = levels.disk()
            && let Some(edition) = disk.invalidate(namespace, scope, edition).await
        {
            self.own.add(scope, edition);
        }
    }
}

impl Numbered {
    fn edition(&self) -> u64 {
        self.edition.load(Ordering::SeqCst)
    }

    fn is_valid(&self, edition: u64, key: &[u8], tags: &[Box<str>]) -> bool {
        edition >= self.edition() || {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.is_valid(edition, key, tags.iter().map(|tag| &**tag))
        }
    }

    /// Adds one that has its number; `true` when it was not known.
    fn add(&self, scope: &Scope, edition: u64) -> bool {
        self.change(|known| known.add(scope.clone(), edition))
    }

    /// Adds one as the latest, and gives its number.
    fn next(&self, scope: &Scope) -> u64 {
        let mut edition = 0;
        self.change(|known| {
            edition = known.edition() + 1;
            known.add(scope.clone(), edition)
        });
        edition
    }

    fn merge(&self, other: &Invalidations) {
        self.change(|known| {
            known.merge(other);
            true
        });
    }

    fn change(&self, change: impl FnOnce(&mut Invalidations) -> bool) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = change(&mut known);
        self.edition.store(known.edition(), Ordering::SeqCst);
        is_new
    }
}
