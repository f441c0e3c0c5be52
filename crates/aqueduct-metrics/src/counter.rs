use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// Counts upwards from zero. Cheap to clone; clones move the same figure.
///
/// One made with `default` belongs to no registry: a part that nobody watches counts into it all the same.
#[derive(Clone, Default)]
pub struct Counter(Arc<Stripes>);

/// A sum kept in several places, so that threads on different cores do not pull one cache line to and fro.
pub(crate) struct Stripes(Box<[Stripe]>);

/// 128 bytes, since processors fetch two lines of 64 at once.
#[repr(align(128))]
struct Stripe(AtomicU64);

// ---- Counter ----

impl Counter {
    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`. Past the largest `u64` the figure starts again at zero, as Prometheus expects of a
    /// counter; at a billion a second that takes 584 years.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0.add(count);
    }

    /// Gives the figure. Of two reads that follow each other, the second is never smaller.
    ///
    /// # Complexity
    ///
    /// One load for each stripe; there are as many as the machine has cores, 16 at most.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.sum()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.value()).finish()
    }
}

// ---- Stripes ----

/// Past 16 a counter takes more memory (2 KiB) than it saves time.
const STRIPES_MAX: usize = 16;

/// One stripe for each core, rounded up to a power of two so that a mask picks one.
static STRIPES: LazyLock<usize> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    cores.next_power_of_two().min(STRIPES_MAX)
});

/// Hands out thread numbers. Relaxed: a number given twice would cost time and nothing else.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl Stripes {
    /// Relaxed: only the sum matters, and it orders nothing.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0[thread_number() & (self.0.len() - 1)].0.fetch_add(count, Ordering::Relaxed);
    }

    /// Relaxed: each stripe only grows, so a later sum is never smaller.
    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, stripe| sum.wrapping_add(stripe.0.load(Ordering::Relaxed)))
    }
}

impl Default for Stripes {
    fn default() -> Self {
        Self((0..*STRIPES).map(|_| Stripe(AtomicU64::new(0))).collect())
    }
}

/// Numbers threads in the order in which they first count.
#[inline]
fn thread_number() -> usize {
    // The cell has no destructor, so it can be read for as long as the thread lives.
    THREAD.with(|number| match number.get() {
        usize::MAX => {
            let fresh = THREADS.fetch_add(1, Ordering::Relaxed);
            number.set(fresh);
            fresh
        }
        known => known,
    })
}
