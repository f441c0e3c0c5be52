//! Makes thumbnails of pictures that come over a queue: one is no picture, and one needs a second attempt.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::fmt;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Shutdown};
use aqueduct_processor::{Config, Work, Worker, WorkerConfig};
use aqueduct_queue::{Message, Queues, State};
use aqueduct_retry::{Growth, Schedule};

/// Why there is no thumbnail.
#[derive(Debug)]
enum NoThumbnail {
    NotAPicture,
    DiskBusy,
}

impl fmt::Display for NoThumbnail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAPicture => "it is no picture",
            Self::DiskBusy => "the disk is busy",
        })
    }
}

impl Classified for NoThumbnail {
    fn class(&self) -> ErrorClass {
        match self {
            Self::NotAPicture => ErrorClass::Permanent,
            Self::DiskBusy => ErrorClass::Transient,
        }
    }
}

fn thumbnail(work: &Work) -> Result<(), NoThumbnail> {
    match &*work.message().body {
        b"notes.txt" => Err(NoThumbnail::NotAPicture),
        b"large.png" if work.delivered.attempt == 1 => Err(NoThumbnail::DiskBusy),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::system();
    let queue = Queues::memory().declare("pictures", aqueduct_queue::Config::default()).await?;
    for picture in ["cat.png", "notes.txt", "large.png", "dog.png"] {
        queue.publish(Message::new(picture)).await?;
    }

    let soon = Schedule::builder(Growth::Constant { delay: Duration::from_millis(10) });
    let config = WorkerConfig {
        pool: Config { name: "thumbnails".into(), size: 2, ..Config::default() },
        retry: soon.build()?,
        ..WorkerConfig::default()
    };
    let worker = Worker::cpu(queue.clone(), config, clock, thumbnail)?;
    let (handle, (shutdown, signal)) = (worker.handle(), Shutdown::new());
    let run = tokio::spawn(worker.run(signal));
    while handle.report().acked + handle.report().dead_lettered < 4 {
        tokio::task::yield_now().await;
    }
    shutdown.drain();
    let report = run.await??;

    println!("taken {}, done {}, retried {}", report.taken, report.acked, report.nacked);
    for peeked in queue.peek(State::Dead, None, 10).await? {
        let (message, dead) = (peeked.message?, peeked.dead.ok_or("a dead letter has a reason")?);
        println!("set aside {}: {}", String::from_utf8_lossy(&message.body), dead.reason);
    }
    Ok(())
}
