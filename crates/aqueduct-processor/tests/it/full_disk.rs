//! A worker whose store fails for good: the system refuses to let the file grow, in a process of its own.

#![cfg(unix)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aqueduct_core::Clock;
use aqueduct_processor::{Config, Work, Worker, WorkerConfig};
use aqueduct_queue::{Message, Queue, Queues};

use crate::worker::Running;
use crate::{PASSING, until};

const FILE: &str = "AQUEDUCT_TEST_FULL_DISK";
const MESSAGES: u64 = 1000;

async fn open(path: &Path) -> (Queue, Queue) {
    let queues = Queues::open_with(path, Clock::system()).unwrap();
    let config = || aqueduct_queue::Config::builder().attempts_max(1000).build().unwrap();
    (queues.declare("work", config()).await.unwrap(), queues.declare("results", config()).await.unwrap())
}

#[tokio::test]
async fn a_worker_on_a_full_disk_says_so_ends_when_asked_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work.queue");
    let (queue, _) = open(&path).await;
    let messages = (0..MESSAGES).map(|number| Message::new(number.to_string())).collect();
    queue.publish_all(messages, Duration::from_secs(60)).await.unwrap();
    queue.store().close().await.unwrap();
    drop(queue);

    // 16 MiB more: results of a quarter of the messages. A write beyond fails like one on a full disk, where the signal is
    // ignored. POSIX: blocks of 512 bytes.
    let blocks = std::fs::metadata(&path).unwrap().len() / 512 + 16 * 2048;
    let program = std::env::current_exe().unwrap();
    let child = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")])
        .arg(program)
        .args(["--exact", "full_disk::the_process_whose_disk_is_full", "--ignored", "--nocapture"])
        .env(FILE, &path)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    let line =
        out.lines().find_map(|line| line.strip_prefix("report ")).unwrap_or_else(|| panic!("{child:?}"));
    let [taken, acked, unsettled] =
        *line.split(' ').map(|number| number.parse::<u64>().unwrap()).collect::<Vec<_>>()
    else {
        panic!("{line}")
    };
    assert!(acked > 0 && unsettled > 0 && taken == acked + unsettled, "{line}");

    let depth = open(&path).await.0.depth().await.unwrap();
    let left = depth.ready + depth.delayed + depth.leased + depth.dead;
    // Of what was unsettled some may be settled all the same: the last write may have come to the disk.
    assert!((MESSAGES - taken..=MESSAGES - acked).contains(&left), "{left} after {line}");
}

#[tokio::test]
#[ignore = "it is the process that the test above runs"]
async fn the_process_whose_disk_is_full() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let (queue, results) = open(Path::new(&path)).await;
    let pool = Config { size: 4, stall_max: Duration::from_millis(200), ..Config::default() };
    let config = WorkerConfig { pool, grace: Duration::from_millis(200), ..WorkerConfig::default() };
    let worker = Worker::io(queue, config, Clock::system(), move |_: Work| {
        let results = results.clone();
        async move {
            let result = Message::new(vec![7; 64 * 1024]);
            results.publish(result).await.map(drop).map_err(|_| PASSING)
        }
    });
    let running = Running::begin(worker.unwrap());
    until(|| !running.handle.health().live).await;
    let health = running.handle.health();
    assert!(health.failing.is_some() && health.pool.live, "{health:?}");
    eprintln!("{}", health.last_error.unwrap());
    let report = running.drain().await;
    println!("\nreport {} {} {}", report.taken, report.acked, report.unsettled);
}
