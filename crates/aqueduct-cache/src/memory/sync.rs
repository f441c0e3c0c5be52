//! What the lock is made of. Its model has another such module, in which every order of events is tried.

use std::cell::Cell;
use std::sync::PoisonError;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard as Guard};
use std::time::Duration;

/// Says where what is inside is read and where it is changed, which the model watches.
#[derive(Debug)]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(super) fn new(inner: T) -> Self {
        Self(std::cell::UnsafeCell::new(inner))
    }

    #[inline]
    pub(super) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline]
    pub(super) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> Guard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes before this and after it, with an order of `SeqCst`, is in one order for all threads. So it is without a
/// fence; the model has none of that order, and needs one.
#[inline]
pub(super) fn total_order() {}

/// Waits a little for somebody who reads: they take some ten nanoseconds, if they are not interrupted and no code of others is slow.
#[expect(clippy::disallowed_methods, reason = "who waits for a lock blocks its thread in any case")]
pub(super) fn pause(looked: u32) {
    match looked {
        0..100 => std::hint::spin_loop(),
        100..200 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
}

/// A number of this thread: those that live at the same time have different ones, for the most part next to each other.
#[inline]
pub(super) fn thread_number() -> usize {
    thread_local!(static NUMBER: Cell<usize> = const { Cell::new(NONE) });
    NUMBER.with(|number| if number.get() == NONE { first_number(number) } else { number.get() })
}

const NONE: usize = usize::MAX;

#[cold]
fn first_number(number: &Cell<usize>) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    number.set(NEXT.fetch_add(1, Ordering::Relaxed));
    number.get()
}
