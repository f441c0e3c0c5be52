//! A process that publishes, reserves and acknowledges is killed, again and again, and every message is accounted for.
//!
//! The accounting is that of Jepsen's total-queue checker: what is lost, what came twice, what nobody sent.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_core::Random;
use aqueduct_queue::{Config, Message, Queue, Queues, State};

/// Where the child finds its file.
const FILE: &str = "AQUEDUCT_QUEUE_KILL_FILE";
/// How often it is killed; more for a soak.
const KILLS: &str = "AQUEDUCT_QUEUE_KILLS";

fn config() -> Config {
    // A message is with a worker in many of the deaths, and must not be set aside for that.
    Config::builder().items_max(1_000_000).attempts_max(65_535).build().unwrap()
}

/// What the child tells before and after each thing it does.
fn tell(what: &str, text: &str) {
    let mut out = std::io::stdout().lock();
    // The parent has closed it only when it has killed us.
    let _ = writeln!(out, "{what} {text}");
    let _ = out.flush();
}

#[test]
#[ignore = "it is the child of the test below"]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Queues::open(path).unwrap().declare("work", config()).await.unwrap();
        let session = std::process::id();
        let publishers = (0..4).map(|publisher| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    let text = format!("{session}-{publisher}-{number}");
                    tell("sends", &text);
                    queue
                        .publish(Message::new(text.clone()).with_tenant(format!("t{publisher}")))
                        .await
                        .unwrap();
                    tell("sent", &text);
                }
            })
        });
        let workers = (0..4).map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                loop {
                    let delivery = queue.reserve().await.unwrap();
                    let text = String::from_utf8(delivery.message.body.to_vec()).unwrap();
                    tell("acks", &text);
                    delivery.ack().await.unwrap();
                    tell("acked", &text);
                }
            })
        });
        for task in publishers.chain(workers).collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// What is known of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    sent: bool,
    acks: bool,
    acked: bool,
}

/// Runs the child until it has told so much, and kills it.
fn run(path: &Path, lines: u64, accounts: &mut BTreeMap<String, Account>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["kill::child", "--exact", "--ignored", "--nocapture", "--quiet"]).env(FILE, path);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut told = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        let Some((what, text)) = line.split_once(' ') else { continue };
        if !["sends", "sent", "acks", "acked"].contains(&what) {
            // What the test harness says.
            continue;
        }
        let account = accounts.entry(text.to_owned()).or_default();
        account.sent |= what == "sent";
        account.acks |= what == "acks";
        account.acked |= what == "acked";
        told += 1;
        if told == lines {
            // SIGKILL. What it had told by then is still in the pipe.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told >= lines, "the child ended by itself after {told} of {lines} lines");
}

async fn waiting(queue: &Queue) -> Vec<String> {
    let mut texts = Vec::new();
    let mut after = None;
    loop {
        let page = queue.peek(State::Ready, after, 1000).await.unwrap();
        let Some(last) = page.last() else { return texts };
        after = Some(last.id);
        texts.extend(
            page.iter()
                .map(|peeked| String::from_utf8(peeked.message.as_ref().unwrap().body.to_vec()).unwrap()),
        );
    }
}

#[tokio::test]
async fn no_message_is_lost_or_comes_back_however_often_its_process_is_killed() {
    let kills: u64 = std::env::var(KILLS).ok().and_then(|kills| kills.parse().ok()).unwrap_or(40);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.redb");
    let mut random = Random::seeded(kills);
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    for kill in 0..kills {
        run(&path, 1 + random.below(400), &mut accounts);
        let queues = Queues::open(&path).unwrap();
        let queue = queues.declare("work", config()).await.unwrap();
        let there = waiting(&queue).await;
        let unique: BTreeSet<&String> = there.iter().collect();
        assert_eq!(unique.len(), there.len(), "doubled after kill {kill}");
        for text in &there {
            let account = accounts.get(text);
            assert!(account.is_some(), "{text} was sent by nobody, after kill {kill}");
            assert!(!account.unwrap().acked, "{text} was acknowledged and is back, after kill {kill}");
        }
        for (text, account) in &accounts {
            // One whose acknowledgement had begun may be gone.
            let must = account.sent && !account.acks;
            assert!(!must || unique.contains(text), "{text} is lost, after kill {kill}");
        }
        // What is settled now need not be looked for again.
        accounts.retain(|text, _| unique.contains(text));
        queues.close().await.unwrap();
    }
    // Everything that is left can be worked off.
    let queues = Queues::open(&path).unwrap();
    let queue = queues.declare("work", config()).await.unwrap();
    let mut left: BTreeSet<String> = waiting(&queue).await.into_iter().collect();
    for delivery in queue.reserve_many(usize::MAX, usize::MAX, Duration::ZERO).await.unwrap() {
        assert!(left.remove(&crate::store::text(&delivery)));
        delivery.ack().await.unwrap();
    }
    assert!(left.is_empty(), "{left:?}");
}

const HOLDS: &str = "AQUEDUCT_QUEUE_HOLDS_FILE";

#[test]
#[ignore = "it is the child of the test below"]
fn child_that_holds() {
    let Some(path) = std::env::var_os(HOLDS) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Queues::open(path).unwrap().declare("work", config()).await.unwrap();
        let mut held = Vec::new();
        for body in ["fails", "is given back", "dies", "dies, too"] {
            queue.publish(Message::new(body)).await.unwrap();
            held.push(queue.reserve().await.unwrap());
        }
        queue.publish(Message::new("waits")).await.unwrap();
        held.remove(0).nack(Duration::ZERO, "it failed").await.unwrap();
        held.remove(0).release().await.unwrap();
        tell("holds", "two");
        std::future::pending::<()>().await;
    });
}

#[tokio::test]
async fn what_a_process_had_when_it_died_is_told_from_what_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("work.queue");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["kill::child_that_holds", "--exact", "--ignored", "--nocapture", "--quiet"])
        .env(HOLDS, &path);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holds two"));
    child.kill().unwrap();
    child.wait().unwrap();

    // It is so at the next opening, too, and after a release, until another attempt has ended.
    for opening in 0..2 {
        let queues = Queues::open(&path).unwrap();
        let queue = queues.declare("work", config()).await.unwrap();
        let mut seen = BTreeMap::new();
        for _ in 0..5 {
            let delivery = queue.reserve().await.unwrap();
            let body = String::from_utf8(delivery.message.body.to_vec()).unwrap();
            seen.insert(body, (delivery.attempt, delivery.after_crash, delivery));
        }
        let mut told = Vec::new();
        for (body, (attempt, after_crash, delivery)) in seen {
            told.push((body.clone(), attempt, after_crash));
            delivery.release().await.unwrap();
        }
        let expected = [
            ("dies", 2, true),
            ("dies, too", 2, true),
            ("fails", 2, false),
            ("is given back", 1, false),
            ("waits", 1, false),
        ];
        assert_eq!(told, expected.map(|(body, attempt, crash)| (body.to_owned(), attempt, crash)));
        if opening == 1 {
            // All are taken but for the one that fails.
            let mut deliveries = Vec::new();
            for _ in 0..5 {
                deliveries.push(queue.reserve().await.unwrap());
            }
            let dies = deliveries.iter().position(|delivery| delivery.message.body == "dies").unwrap();
            deliveries.remove(dies).nack(Duration::ZERO, "it failed").await.unwrap();
            let again = queue.reserve().await.unwrap();
            assert_eq!((&*again.message.body, again.attempt, again.after_crash), (&b"dies"[..], 3, false));
        }
        queues.close().await.unwrap();
    }
}
