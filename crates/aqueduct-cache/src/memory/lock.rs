#![expect(unsafe_code, reason = "docs/internals/unsafe.md says what for and how it is held to be sound")]

use super::sync::{
    AtomicBool, AtomicU32, AtomicUsize, Guard, Mutex, Ordering, UnsafeCell, lock, pause, thread_number,
    total_order,
};

use super::looks::Looks;

/// A lock for what is read far more often than it is changed: readers on different processors do not write to one place.
///
/// It is a mutex with a bias towards readers (BRAVO: Dice and Kogan, "BRAVO: Biased Locking for Reader-Writer Locks", USENIX ATC
/// 2019). While it is biased, a reader does not touch the mutex: it writes into its own seat that it reads here, and if the lock is
/// still biased then, it may. Who changes something takes the mutex, revokes the bias, and waits until no seat says that
/// somebody reads here. After enough reads without a change the lock is biased again.
///
/// A read under bias is one locked instruction, on a line that no other processor writes; a mutex takes two, on a line that all of
/// them write. A change finds a mutex and nothing else where changes are frequent, for then there is no bias.
///
/// Who reads must not change, and who is within either must not enter the same lock again: it would wait for itself.
pub(crate) struct Lock<T> {
    /// What a seat says while somebody reads here.
    name: usize,
    /// Set under the mutex only.
    biased: AtomicBool,
    /// How often it was read under the mutex since it was changed last.
    reads: AtomicU32,
    gate: Mutex<()>,
    inner: UnsafeCell<T>,
}

/// So many reads for each seat, without a change between them, bias a lock. To revoke the bias is to look at each seat, a
/// cache miss where it was used on another processor: that is less than one for sixteen reads then.
const READS_A_SEAT: u32 = 16;

/// The seats of those who read, for the locks of one cache: there is one for each thread, but for those of more threads than twice
/// the processors, which share.
#[derive(Debug)]
pub(crate) struct Readers {
    /// As many as a power of two.
    seats: Box<[Seat]>,
}

/// So many seats at most: a change has to look at each.
const SEATS_MAX: usize = 64;

/// On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Seat {
    /// The name of the lock that is read from here, or [`NOBODY`].
    reads: AtomicUsize,
    looks: Looks,
}

/// No lock has this name.
const NOBODY: usize = 0;

impl Readers {
    /// Seats for the processors of this machine.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_seats((processors * 2).next_power_of_two().min(SEATS_MAX))
    }

    /// So many seats, a power of two.
    pub(crate) fn with_seats(seats: usize) -> Self {
        let seats = (0..seats).map(|_| Seat::default()).collect();
        Self { seats }
    }

    /// What was counted by those who read without the mutex.
    pub(crate) fn looks(&self) -> impl Iterator<Item = &Looks> {
        self.seats.iter().map(|seat| &seat.looks)
    }

    #[inline]
    fn seat(&self) -> &Seat {
        &self.seats[thread_number() & (self.seats.len() - 1)]
    }

    fn reads_until_bias(&self) -> u32 {
        u32::try_from(self.seats.len()).map_or(u32::MAX, |seats| seats.saturating_mul(READS_A_SEAT))
    }
}

impl<T> Lock<T> {
    /// A lock that is the one with this number among those of its readers.
    pub(crate) fn new(number: usize, inner: T) -> Self {
        Self {
            name: number + 1,
            biased: AtomicBool::new(false),
            reads: AtomicU32::new(0),
            gate: Mutex::new(()),
            inner: UnsafeCell::new(inner),
        }
    }

    /// Reads. The counters are those of the reader's seat, for nobody else to write; there are none where it has none.
    #[inline]
    pub(crate) fn read<R>(&self, readers: &Readers, read: impl FnOnce(&T, Option<&Looks>) -> R) -> R {
        if self.biased.load(Ordering::Relaxed)
            && let Some(seated) = Seated::take(readers.seat(), self.name)
        {
            total_order();
            if self.biased.load(Ordering::SeqCst) {
                // SAFETY: who changes this revokes the bias first, and then waits until no seat has its name. Both
                // that and what was done here are in the one order of all such operations: the bias was seen behind the name in
                // the seat, so whoever revokes it sees that name. `seated` takes it out when the reading is over.
                return self.inner.with(|inner| read(unsafe { &*inner }, Some(&seated.0.looks)));
            }
        }
        self.read_behind_the_gate(readers, read)
    }

    fn read_behind_the_gate<R>(&self, readers: &Readers, read: impl FnOnce(&T, Option<&Looks>) -> R) -> R {
        let _held = self.enter();
        let reads = self.reads.load(Ordering::Relaxed).saturating_add(1);
        self.reads.store(reads, Ordering::Relaxed);
        if reads >= readers.reads_until_bias() {
            // Nobody changes anything now, and who does so later comes through the gate.
            self.biased.store(true, Ordering::Release);
        }
        // SAFETY: only who holds the mutex gets at this to change it, and that is this one here. Others may read as well.
        self.inner.with(|inner| read(unsafe { &*inner }, None))
    }

    /// Changes. Waits for all who read.
    #[inline]
    pub(crate) fn write<R>(&self, readers: &Readers, write: impl FnOnce(&mut T) -> R) -> R {
        let _held = self.enter();
        self.reads.store(0, Ordering::Relaxed);
        if self.biased.load(Ordering::Relaxed) {
            self.revoke(readers);
        }
        // SAFETY: this one holds the mutex, so nobody else changes this or reads it behind the gate. There is no bias, which only
        // who holds the mutex could set, and nobody reads under one: those who saw it have left, and what they did was before this.
        self.inner.with_mut(|inner| write(unsafe { &mut *inner }))
    }

    #[cold]
    fn revoke(&self, readers: &Readers) {
        self.biased.store(false, Ordering::SeqCst);
        total_order();
        for seat in &readers.seats {
            let mut looked = 0;
            while seat.reads.load(Ordering::SeqCst) == self.name {
                pause(looked);
                looked += 1;
            }
        }
    }

    fn enter(&self) -> Guard<'_, ()> {
        lock(&self.gate)
    }
}

/// Somebody who reads, until this is dropped.
struct Seated<'a>(&'a Seat);

impl<'a> Seated<'a> {
    /// `None` where somebody has the seat: another thread, or code of others within a read.
    #[inline]
    fn take(seat: &'a Seat, name: usize) -> Option<Self> {
        match seat.reads.compare_exchange(NOBODY, name, Ordering::SeqCst, Ordering::Relaxed) {
            // Not made where it is not taken: to drop it is to give the seat back.
            Ok(_) => Some(Self(seat)),
            Err(_) => None,
        }
    }
}

impl Drop for Seated<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.reads.store(NOBODY, Ordering::Release);
    }
}

// SAFETY: threads share what is inside, and each of them may get at it to change it.
unsafe impl<T: Send + Sync> Sync for Lock<T> {}

/// Where code of others panicked within, an entry was only looked at: what is inside is still whole.
impl<T> std::panic::RefUnwindSafe for Lock<T> {}
