//! The lock itself, with every order of the events of a few threads tried, up to a number of interruptions.

use loom::sync::Arc;
use loom::thread;

#[expect(dead_code, reason = "the model has seats of its own number and counts nothing")]
#[expect(clippy::duplicate_mod, reason = "here it is made of what the model watches")]
#[path = "lock.rs"]
mod lock;
use super::looks;

use lock::{Lock, Readers};

/// What the lock is made of, for the model to watch.
mod sync {
    use std::cell::Cell;

    pub(super) use loom::cell::UnsafeCell;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
    pub(super) use loom::sync::{Mutex, MutexGuard as Guard};

    pub(super) fn lock<T>(mutex: &Mutex<T>) -> Guard<'_, T> {
        mutex.lock().expect("nobody panics within")
    }

    pub(super) fn total_order() {
        loom::sync::atomic::fence(Ordering::SeqCst);
    }

    pub(super) fn pause(_: u32) {
        loom::thread::yield_now();
    }

    loom::thread_local!(pub(super) static NUMBER: Cell<usize> = Cell::new(0));

    pub(super) fn thread_number() -> usize {
        NUMBER.with(Cell::get)
    }
}

/// Two numbers that are the same whenever nobody is in the midst of changing them.
type Pair = (u32, u32);

struct Shared {
    lock: Lock<Pair>,
    readers: Readers,
}

impl Shared {
    fn read(&self) -> u32 {
        self.lock.read(&self.readers, |pair, _| {
            assert_eq!(pair.0, pair.1);
            pair.0
        })
    }

    fn count_up(&self) {
        self.lock.write(&self.readers, |pair| {
            pair.0 += 1;
            pair.1 += 1;
        });
    }
}

/// Runs a writer and two readers, of a lock that is biased when they begin.
fn check(seats: usize, reads: u32) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Arc::new(Shared { lock: Lock::new(0, (0, 0)), readers: Readers::with_seats(seats) });
        for _ in 0..seats * 16 {
            shared.read();
        }
        let run = |number: usize, work: fn(&Shared, u32)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                sync::NUMBER.with(|own| own.set(number));
                work(&shared, reads);
            })
        };
        let reads_on = |shared: &Shared, reads| {
            let mut last = 0;
            for _ in 0..reads {
                let seen = shared.read();
                assert!(seen >= last, "{seen} behind {last}");
                last = seen;
            }
        };
        let threads = [run(0, reads_on), run(1, |shared, _| shared.count_up())];
        sync::NUMBER.with(|own| own.set(1));
        reads_on(&shared, reads);
        for thread in threads {
            thread.join().expect("it ends");
        }
        assert_eq!(shared.read(), 1);
    });
}

#[test]
fn nobody_reads_what_is_being_changed() {
    check(2, 2);
}

#[test]
fn nor_do_those_who_share_a_seat() {
    check(1, 2);
}

#[test]
fn under_a_bias_everybody_reads_what_was_changed_before_it() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let shared = Arc::new(Shared { lock: Lock::new(0, (0, 0)), readers: Readers::with_seats(1) });
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.read();
            })
        };
        shared.count_up();
        for _ in 0..17 {
            assert_eq!(shared.read(), 1);
        }
        other.join().expect("it ends");
    });
}
