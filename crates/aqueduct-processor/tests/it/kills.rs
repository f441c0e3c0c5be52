//! Workers in processes of their own, over a file, killed in the middle.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use aqueduct_core::{Clock, Random};
use aqueduct_processor::{Config, Work, Worker, WorkerConfig};
use aqueduct_queue::{Message, Queue, Queues, State};

use crate::worker::Running;
use crate::{Fault, SECOND};

const FILE: &str = "AQUEDUCT_TEST_QUEUE";
const SLOTS: &str = "AQUEDUCT_TEST_SLOTS";
const ATTEMPTS: &str = "AQUEDUCT_TEST_ATTEMPTS";

async fn open(path: &Path, attempts: u32) -> Queue {
    let config = aqueduct_queue::Config::builder().attempts_max(attempts).build().unwrap();
    Queues::open_with(path, Clock::system()).unwrap().declare("work", config).await.unwrap()
}

/// Runs a worker in a process until it ends, or has done `kill_after` messages. Tells what it has done, and whether it came
/// to the end of the queue.
fn life(path: &Path, slots: usize, attempts: u32, kill_after: Option<u64>) -> (Vec<u32>, bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::the_process_that_is_killed", "--ignored", "--nocapture"])
        .env(FILE, path)
        .env(SLOTS, slots.to_string())
        .env(ATTEMPTS, attempts.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut done = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // A line that was cut has no end.
        if let Some(number) = line.unwrap().strip_prefix("done ").and_then(|rest| rest.strip_suffix('.')) {
            done.push(number.parse().unwrap());
        }
        if kill_after.is_some_and(|kill_after| done.len() as u64 >= kill_after) {
            child.kill().unwrap();
        }
    }
    (done, child.wait().unwrap().success())
}

#[tokio::test]
async fn no_message_is_lost_when_its_worker_is_killed() {
    const MESSAGES: u32 = 300;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work.queue");
    let queue = open(&path, 1000).await;
    let messages = (0..MESSAGES).map(|number| Message::new(number.to_string())).collect();
    queue.publish_all(messages, SECOND).await.unwrap();
    queue.store().close().await.unwrap();
    drop(queue);
    let (mut random, mut times, mut kills) = (Random::seeded(7), BTreeMap::new(), 0);
    loop {
        let (done, ended) = life(&path, 8, 1000, Some(1 + random.below(30)));
        for number in done {
            *times.entry(number).or_insert(0) += 1;
        }
        if ended {
            break;
        }
        kills += 1;
        assert!(kills < 1000);
    }
    let done: Vec<u32> = times.keys().copied().collect();
    assert_eq!(done, (0..MESSAGES).collect::<Vec<_>>(), "lost or unexpected");
    // What was done and not yet settled comes again: what a slot had, or what was on its way to the file.
    let repeated: usize = times.values().map(|times| times - 1).sum();
    assert!(kills > 5 && repeated <= kills * 8 * 4, "{repeated} in {kills} kills");
    let queue = open(&path, 1000).await;
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.ready, depth.leased, depth.delayed, depth.dead), (0, 0, 0, 0));
}

/// The queue may not set anybody else aside: those beside it are killed with it, and those that had just succeeded do not
/// know it. Once, the second one was set aside, having succeeded each time.
#[tokio::test]
async fn a_message_that_kills_its_process_is_set_aside_and_takes_nobody_with_it() {
    for slots in [1, 4] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("work.queue");
        let queue = open(&path, 3).await;
        for body in ["1", "2", "abort", "3", "4", "5"] {
            queue.publish(Message::new(body)).await.unwrap();
        }
        queue.store().close().await.unwrap();
        drop(queue);
        let (mut all, mut deaths) = (Vec::new(), 0);
        loop {
            let (done, ended) = life(&path, slots, 3, None);
            all.extend(done);
            if ended {
                break;
            }
            deaths += 1;
            assert!(deaths <= 3, "it goes on for ever");
        }
        let dead = open(&path, 3).await.peek(State::Dead, None, 10).await.unwrap();
        let dead: Vec<_> = dead.into_iter().map(|dead| dead.message.unwrap().body).collect();
        assert_eq!((deaths, dead), (3, vec!["abort".into()]), "with {slots} slots, done {all:?}");
        // What was done and not yet settled comes again.
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
#[ignore = "it is the process that the tests above kill"]
async fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u32>().unwrap();
    let queue = open(Path::new(&path), number(ATTEMPTS)).await;
    let size = usize::try_from(number(SLOTS)).unwrap();
    let config = WorkerConfig { pool: Config { size, ..Config::default() }, ..WorkerConfig::default() };
    let worker = Worker::io(queue.clone(), config, Clock::system(), |work: Work| async move {
        if work.message().body == "abort" {
            std::process::abort();
        }
        tokio::task::yield_now().await;
        let line = format!("done {}.\n", String::from_utf8_lossy(&work.message().body));
        // One write a line; the last one may be cut all the same.
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
        Ok::<_, Fault>(())
    });
    let running = Running::begin(worker.unwrap());
    loop {
        let depth = queue.depth().await.unwrap();
        if depth.ready + depth.delayed + depth.leased == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    running.drain().await;
}
