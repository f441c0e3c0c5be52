mod config;
mod error;
mod folder;
mod index;
mod notes;
mod record;
mod segment;
mod store;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aqueduct_core::Clock;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use self::config::DiskConfig;
pub use self::error::DiskError;
use self::record::{Digest, HEADER};
use self::store::Store;
use crate::invalidations::{Invalidations, Scope};
use crate::level::{Level, LevelError, Place};
use crate::stored::Stored;

/// A level in a folder of its own: what is stored is still there after a restart.
///
/// # The model
///
/// Entries are appended to files, the segments, and an index in memory says where each is, in 20 to 50 bytes an entry. A
/// look is one read. When there is no room, the oldest segment leaves with all that is in it: what was written first
/// leaves first, however often it is asked for. A segment leaves earlier once nothing in it is left or all of it has
/// expired; an entry that has expired, when somebody looks for it.
///
/// # Guarantees and limits
///
/// * A value is given as it was stored or not at all: every record has a checksum, and one that does not fit leaves. Of two
///   values of a key only the later is on the disk, so damage to it never brings back the earlier.
/// * What was stored, removed or invalidated is still so after the process was killed, from the moment the call returned.
///   After a loss of power the last seconds may be undone, unless [`close`](Level::close) came after them.
/// * When what is known of invalidations is damaged, everything leaves and the cache starts empty; [`Disk::opened`] says so.
/// * The segments are never longer together than [`bytes_max`](DiskConfig::with_bytes_max). On top come the files that are
///   rounded up to blocks by the file system, and what is known of invalidations: at most two times what
///   [`Invalidations::SCOPES_MAX`] scopes of 1 KiB take, for each namespace, and 1 MiB; tags and prefixes that are longer
///   count as everything and as their beginning. With more than 10,000 namespaces everything leaves.
/// * A disk that is full refuses what is to be stored, and whatever was stored under that key leaves. Looks go on.
/// * A clock that has gone back gives an entry its whole time again if it has gone back by less than that time, and takes
///   the entry out otherwise: nobody gets it for longer than twice its time.
/// * Names and keys are in the folder as SHA-256; values are as they are. Whoever can read the folder can read them.
/// * Reading and writing happen on the threads that tokio has for work that blocks, at most 32 at a time; outside of a
///   runtime, where the future is polled.
///
/// # Cancel safety
///
/// A call that is dropped may have been carried out, and is not carried out later.
///
/// # Example
///
/// ```
/// use aqueduct_cache::{Disk, DiskConfig, Level, Place, Stored};
/// use aqueduct_core::Clock;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path();
/// let config = DiskConfig::default().with_bytes_max(64 << 20)?;
/// let disk = Disk::open(path, config, Clock::system())?;
/// let place = Place { namespace: "answers", key: b"6 * 7" };
/// disk.set(place, &Stored { value: Some("42".into()), ..Stored::default() }).await?;
/// drop(disk);
///
/// let disk = Disk::open(path, config, Clock::system())?;
/// let found = disk.get(place).await?.and_then(|stored| stored.value);
/// assert_eq!(found.as_deref(), Some(&b"42"[..]));
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Debug)]
pub struct Disk {
    store: Arc<Store>,
    opened: Opened,
    clock: Clock,
    turns: Arc<Semaphore>,
}

/// What was found in the folder when a [`Disk`] was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// Entries that are there.
    pub entries: usize,
    /// Places at which something could not be read and was left out: an entry, or the rest of a segment.
    pub damaged: u64,
    /// What was invalidated could not be read, so all entries were dropped and the cache starts empty.
    pub forgotten: bool,
}

/// What only the level itself knows. The counts are since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskStats {
    /// Entries that are there; those among them that have expired and not left yet as well.
    pub entries: usize,
    /// How long the files are, in bytes.
    pub bytes: u64,
    /// How long the segments may be.
    pub bytes_max: u64,
    /// How many segments there are; each is an open file.
    pub segments: usize,
    /// Places at which something could not be read and was left out.
    pub damaged: u64,
    /// Entries that left to make room.
    pub evicted: u64,
    /// Entries that left because their time was over.
    pub expired: u64,
}

const LEVEL: &str = "disk";

/// More threads than that make a disk no faster, and tokio has 512 for everybody.
const TURNS: usize = 32;

impl Disk {
    /// Opens the cache in a folder, which is made if it is not there. It reads all of it: about a fifth of a second for
    /// a million small entries in the page cache. Call it before the runtime has other things to do, or on a thread that may block.
    ///
    /// # Errors
    ///
    /// [`DiskError`] when somebody else has it open, when it is not a cache, or when it cannot be read and written. Damage
    /// is no error; [`opened`](Self::opened) says what of it there was.
    pub fn open(folder: impl AsRef<Path>, config: DiskConfig, clock: Clock) -> Result<Self, DiskError> {
        let (store, opened) = Store::open(folder.as_ref(), config, clock.clone())?;
        Ok(Self { store: Arc::new(store), opened, clock, turns: Arc::new(Semaphore::new(TURNS)) })
    }

    /// Says what was found when it was opened.
    #[must_use]
    pub fn opened(&self) -> Opened {
        self.opened
    }

    /// Says what it holds, and what has become of the rest.
    #[must_use]
    pub fn stats(&self) -> DiskStats {
        self.store.stats()
    }

    /// Does something that may wait for the disk, on a thread that may wait.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store, &AtomicBool) -> io::Result<T> + Send + 'static,
    ) -> Result<T, LevelError> {
        let _busy = self.clock.busy();
        let cancel = Cancel(Arc::default());
        let (store, cancelled) = (Arc::clone(&self.store), Arc::clone(&cancel.0));
        let done = match Handle::try_current() {
            Ok(runtime) => {
                let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(away)?;
                let task = move || {
                    let _turn = turn;
                    work(&store, &cancelled)
                };
                runtime.spawn_blocking(task).await.map_err(away)?
            }
            Err(_) => work(&store, &cancelled),
        };
        done.map_err(failure)
    }
}

/// Says, when it is dropped, that nobody waits any more: work whose turn comes later is then left undone.
struct Cancel(Arc<AtomicBool>);

impl Drop for Cancel {
    fn drop(&mut self) {
        // Pairs with the load under the writer's lock.
        self.0.store(true, Ordering::Release);
    }
}

#[async_trait]
impl Level for Disk {
    fn name(&self) -> &'static str {
        LEVEL
    }

    async fn get(&self, place: Place<'_>) -> Result<Option<Stored>, LevelError> {
        let digest = digest(place);
        self.work(move |store, _| Ok(store.get(&digest))).await
    }

    async fn get_many(&self, namespace: &str, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, LevelError> {
        let digests: Vec<_> = keys.iter().map(|key| digest(Place { namespace, key })).collect();
        self.work(move |store, _| Ok(digests.iter().map(|digest| store.get(digest)).collect())).await
    }

    async fn set(&self, place: Place<'_>, stored: &Stored) -> Result<(), LevelError> {
        let (digest, until) = (digest(place), store::until(stored));
        let record = [&[0; HEADER], stored.encode().as_slice()].concat();
        self.work(move |store, cancelled| store.set(&digest, record, until, cancelled)).await
    }

    async fn remove(&self, place: Place<'_>) -> Result<(), LevelError> {
        let digest = digest(place);
        self.work(move |store, cancelled| store.remove(&digest, cancelled)).await
    }

    async fn invalidations(&self, namespace: &str) -> Result<Invalidations, LevelError> {
        let namespace = namespace.to_owned();
        self.work(move |store, _| Ok(store.invalidations(&namespace))).await
    }

    async fn invalidate(&self, namespace: &str, scope: &Scope, edition: u64) -> Result<u64, LevelError> {
        let (namespace, scope) = (namespace.to_owned(), scope.clone());
        self.work(move |store, cancelled| store.invalidate(&namespace, &scope, edition, cancelled)).await
    }

    async fn ping(&self) -> Result<(), LevelError> {
        self.work(|store, _| store.ping()).await
    }

    async fn close(&self) {
        // Whoever closes has nothing left to do about it.
        let _ = self.work(|store, _| store.sync()).await;
    }
}

/// The length of the namespace comes first, so that no two pairs are written in the same way.
fn digest(place: Place<'_>) -> Digest {
    let length = (place.namespace.len() as u64).to_le_bytes();
    Sha256::new().chain_update(length).chain_update(place.namespace).chain_update(place.key).finalize().into()
}

fn away(source: impl std::error::Error + Send + Sync + 'static) -> LevelError {
    LevelError::Away { level: LEVEL, source: Box::new(source) }
}

fn failure(error: io::Error) -> LevelError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull
        | Kind::QuotaExceeded
        | Kind::FileTooLarge
        | Kind::ReadOnlyFilesystem
        | Kind::PermissionDenied => LevelError::Refused { level: LEVEL, source: Box::new(error) },
        _ => away(error),
    }
}
