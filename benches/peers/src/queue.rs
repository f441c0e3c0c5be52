//! A queue in a file of one process, beside others that are opened as easily.
//!
//! RustQueue is there with the feature `rustqueue`, since it brings a server and 196 crates with it. It keeps its jobs in redb. Measured is what `RustQueue::redb(path)` gives: a transaction and a sync for each
//! call (`RedbDurability::Immediate`). Its `with_write_coalescing` gathers calls for 10 ms and is off by default; it is
//! measured too, without a bound. Its `hybrid` writes every second what is in memory, so its receipts promise nothing,
//! and there is nothing to compare. Its housekeeping is not started, which only spares it work.
//!
//! The other one is what many write themselves: a table in SQLite (WAL, `synchronous=FULL`, which is a sync for each
//! commit), one connection behind a mutex, an INSERT and a commit for each message.
//!
//! Ours: `Queues::open`, whose receipt is given after the sync too. All are called by 64 tasks, one message each at a
//! time, in files that begin empty in each round, on the disk of the target folder; so every figure is one of durable
//! messages. Printed is the middle rate of ours over the middle rate of theirs, and the ratios of single rounds.
//!
//! A good answer is 10 or more for publishing, and a line that has less says so. What fails the process is less than 4:
//! the ratio moves with what else the machine does. A cycle (publish, reserve, acknowledge) is told without a bound, as
//! nobody asked for one.

#[cfg(feature = "rustqueue")]
mod rustqueue;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aqueduct_core::Clock;
use aqueduct_queue::{Config, Message, Queue, Queues};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::report::Report;

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        #[cfg(feature = "rustqueue")]
        rustqueue::defects(report).await;
        #[cfg(not(feature = "rustqueue"))]
        report.figure(
            "RustQueue",
            "not built; --features rustqueue builds it, with libssl-dev and a C compiler",
        );
        for bytes in [100, 1024] {
            rates(report, bytes).await;
        }
    });
}

const CALLERS: usize = 64;
/// An odd number, so that there is a middle one.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// What issue 7 asks for.
const WANTED: f64 = 10.0;
/// Below what was seen on a busy machine, and above what a queue without group commit could reach.
const HELD: f64 = 4.0;

/// On the disk that is built on: the folder for temporary files may be memory.
fn folder() -> TempDir {
    let target = std::env::current_exe().expect("we are a file");
    tempfile::tempdir_in(target.parent().expect("which is in a folder")).expect("there is room")
}

/// None of ours may fail here, and of the peers only what is looked at.
fn sound<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}

async fn ours(path: &Path, clock: Clock) -> Queue {
    let config = Config::builder().items_max(100_000_000).bytes_max(1 << 40).build();
    sound(sound(Queues::open_with(path, clock)).declare("work", sound(config)).await)
}

// --- rates ---

/// What every caller does, again and again.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Publish,
    Cycle,
}

#[derive(Clone, Copy)]
enum Side {
    Ours,
    #[cfg(feature = "rustqueue")]
    RustQueue,
    #[cfg(feature = "rustqueue")]
    Coalescing,
    Sqlite,
}

/// Each side, what it is called, and whether its rate is held against ours. The first one is ours.
const SIDES: &[(Side, &str, bool)] = &[
    (Side::Ours, "ours", false),
    #[cfg(feature = "rustqueue")]
    (Side::RustQueue, "RustQueue", true),
    #[cfg(feature = "rustqueue")]
    (Side::Coalescing, "RustQueue with its coalescing", false),
    (Side::Sqlite, "SQLite", true),
];

async fn rates(report: &mut Report, bytes: usize) {
    for work in [Work::Publish, Work::Cycle] {
        let name = match work {
            Work::Publish => "publish",
            Work::Cycle => "publish, reserve and acknowledge",
        };
        let mut rates = vec![Vec::new(); SIDES.len()];
        for _ in 0..ROUNDS {
            for ((side, ..), rates) in SIDES.iter().zip(&mut rates) {
                let folder = folder();
                rates.push(measure(*side, &folder.path().join("queue"), work, bytes).await);
            }
        }
        let own = &rates[0];
        for (rates, (_, peer, held)) in rates.iter().zip(SIDES).skip(1) {
            let held = work == Work::Publish && *held;
            let ratio = middle(own) / middle(rates);
            let (low, high) = spread(own, rates);
            let missed = held && ratio < HELD;
            let mark = match ratio {
                _ if missed => "   <-- MISSED",
                ratio if held && ratio < WANTED => "   <-- less than wanted",
                _ => "",
            };
            let bound =
                if held { format!(", wanted {WANTED:.0}, at least {HELD:.0}") } else { String::new() };
            let name = format!("{name}, {CALLERS} callers of one message of {bytes} bytes, against {peer}");
            println!(
                "{name}: {ratio:.2} x ({low:.2} to {high:.2}; {:.0}/s against {:.0}/s){bound}{mark}",
                middle(own),
                middle(rates),
            );
            report.hold(&name, !missed);
        }
    }
}

async fn measure(side: Side, path: &Path, work: Work, bytes: usize) -> f64 {
    let body = "x".repeat(bytes);
    match side {
        Side::Ours => {
            let queue = ours(path, Clock::system()).await;
            let worker = queue.clone();
            let rate = callers(move || cycle_of_ours(worker.clone(), body.clone(), work)).await;
            sound(queue.store().close().await);
            rate
        }
        #[cfg(feature = "rustqueue")]
        Side::RustQueue => rustqueue::rate(path, body, work).await,
        #[cfg(feature = "rustqueue")]
        Side::Coalescing => rustqueue::coalescing_rate(path, body, work).await,
        Side::Sqlite => {
            let table = Table::open(path.to_owned());
            callers(move || cycle_of_sqlite(table.clone(), body.clone(), work)).await
        }
    }
}

/// How often a second 64 callers come to the end of a call.
async fn callers<C, F>(call: C) -> f64
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (call, stop, done) = (call.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    call().await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        sound(task.await);
    }
    // The last call of each is counted, and so is its time.
    done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

async fn cycle_of_ours(queue: Queue, body: String, work: Work) {
    sound(queue.publish(Message::new(body)).await);
    if work == Work::Cycle {
        sound(sound(queue.reserve().await).ack().await);
    }
}

async fn cycle_of_sqlite(table: Table, body: String, work: Work) {
    let cycle = move || {
        table.insert(&body);
        if work == Work::Cycle {
            let id = table.take();
            table.remove(id);
        }
    };
    sound(tokio::task::spawn_blocking(cycle).await);
}

/// A queue as it is written in an afternoon.
#[derive(Clone)]
struct Table(Arc<Mutex<Connection>>);

impl Table {
    fn open(path: PathBuf) -> Self {
        let connection = sound(Connection::open(path));
        let mode: String = sound(connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0)));
        sound(connection.execute_batch("PRAGMA synchronous=FULL"));
        let synchronous: i64 = sound(connection.query_row("PRAGMA synchronous", [], |row| row.get(0)));
        assert_eq!((mode.as_str(), synchronous), ("wal", 2), "it would not be as durable as ours");
        sound(connection.execute_batch(
            "CREATE TABLE queue (id INTEGER PRIMARY KEY AUTOINCREMENT, taken INTEGER NOT NULL DEFAULT 0, body TEXT);
             CREATE INDEX ready ON queue (id) WHERE taken = 0;",
        ));
        Self(Arc::new(Mutex::new(connection)))
    }

    fn with<T>(
        &self,
        sql: &str,
        work: impl FnOnce(&mut rusqlite::Statement<'_>) -> rusqlite::Result<T>,
    ) -> T {
        let connection = self.0.lock().expect("nobody has panicked with it");
        let mut statement = sound(connection.prepare_cached(sql));
        sound(work(&mut statement))
    }

    fn insert(&self, body: &str) {
        self.with("INSERT INTO queue (body) VALUES (?1)", |insert| insert.execute([body]));
    }

    fn take(&self) -> i64 {
        let sql = "UPDATE queue SET taken = 1 WHERE id = (SELECT id FROM queue WHERE taken = 0 ORDER BY id LIMIT 1) \
                   RETURNING id";
        // One row, and then to the end, which is where it is committed.
        let taken: Vec<i64> = self.with(sql, |update| update.query_map([], |row| row.get(0))?.collect());
        taken[0]
    }

    fn remove(&self, id: i64) {
        self.with("DELETE FROM queue WHERE id = ?1", |delete| delete.execute([id]));
    }
}

fn middle(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// The least and the greatest ratio within a round.
fn spread(ours: &[f64], theirs: &[f64]) -> (f64, f64) {
    let ratios = || ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max))
}
