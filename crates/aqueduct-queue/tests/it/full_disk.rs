//! The file of queues is on a disk of its own that fills up: a small tmpfs in a mount namespace.
//!
//! One process works until the disk is full, a second opens the file while it still is, a third after room was made.
//! Each tells what it did and saw on a line, and the test does the accounting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_queue::{Broken, Config, Delivery, Message, OpenError, PublishError, Queue, Queues};
use aqueduct_queue::{ReserveError, SettleError, State, verify};
use tokio::sync::Barrier;

/// Where a process finds the disk, and what it has to do there.
const DISK: &str = "AQUEDUCT_QUEUE_FULL_DISK";
const STEP: &str = "AQUEDUCT_QUEUE_FULL_STEP";

const CALLERS: usize = 4;
/// So many messages of each caller are there when somebody takes the rest of the disk. What is handed out afterwards fills
/// a page of the file beside, which holds 256 of them, before there are none left.
const CROWDED_AT: usize = 150;

/// What must be true before anything is shown, and what to do where it is not.
const MEANS: &str = "this test needs a file system of its own: `unshare` and `mount` (apt-get install util-linux), and \
    user namespaces (where they are forbidden: sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=1000 \
    kernel.apparmor_restrict_unprivileged_userns=0)";

/// Every step has the bound of `timeout`: a process that hangs is killed, and fails the test.
const SCRIPT: &str = r#"
step() {
    AQUEDUCT_QUEUE_FULL_STEP="$1" timeout -s KILL 120 "$program" full_disk::child --exact --ignored --nocapture --quiet
    echo "ended $?"
}
program="$0"
ulimit -c 0
mount -t tmpfs -o "size=$1" tmpfs "$AQUEDUCT_QUEUE_FULL_DISK" || exit 9
echo mounted
head -c 1048576 /dev/zero > "$AQUEDUCT_QUEUE_FULL_DISK/ballast" || exit 9
step "$2"
step full
rm -f "$AQUEDUCT_QUEUE_FULL_DISK/ballast" "$AQUEDUCT_QUEUE_FULL_DISK/crowd"
step room
"#;

/// What fills the disk, and how the process ends that is told so.
#[derive(Clone, Copy, Debug)]
enum Filled {
    /// The queue itself; the process closes the file.
    Us,
    /// The queue itself; the process dies.
    UsThenDead,
    /// Somebody else, to the last byte, while the queue works; the process dies.
    Somebody,
    /// As before, and from then on messages are only handed out, which writes to the file beside and to no other.
    SomebodyBeside,
}

impl Filled {
    const ALL: [Self; 4] = [Self::Us, Self::UsThenDead, Self::Somebody, Self::SomebodyBeside];

    fn step(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::UsThenDead => "us-then-dead",
            Self::Somebody => "somebody",
            Self::SomebodyBeside => "somebody-beside",
        }
    }
}

// --- the processes ---

fn tell(what: &str, text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {text}").unwrap();
    out.flush().unwrap();
}

fn config() -> Config {
    Config::builder().items_max(1_000_000).build().unwrap()
}

/// The body of a message is known by its name.
fn body(name: &str) -> String {
    let number: usize = name.rsplit('-').next().unwrap().parse().unwrap();
    format!("{name} {}", "x".repeat(100 + number * 977 % 3_000))
}

/// The name of a message whose body is what was sent.
fn name(sent: &[u8]) -> String {
    let text = std::str::from_utf8(sent).unwrap();
    let name = text.split(' ').next().unwrap();
    assert_eq!(text, body(name));
    name.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the child of the test below"]
async fn child() {
    let (Some(disk), Ok(step)) = (std::env::var_os(DISK), std::env::var(STEP)) else { return };
    let disk = PathBuf::from(disk);
    match step.as_str() {
        "full" => look_at_a_full_disk(&disk),
        "room" => work_again(&disk).await,
        step => work_until_full(&disk, step).await,
    }
}

async fn work_until_full(disk: &Path, step: &str) {
    let queues = Queues::open(disk.join("queues.redb")).unwrap();
    let queue = queues.declare("work", config()).await.unwrap();
    let together = Arc::new(Barrier::new(CALLERS));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (queue, disk, step) = (queue.clone(), disk.to_owned(), step.to_owned());
            let together = Arc::clone(&together);
            tokio::spawn(async move { call_until_refused(&queue, caller, &disk, &step, &together).await })
        })
        .collect();
    let mut refusals = BTreeSet::new();
    for caller in callers {
        let broken = caller.await.unwrap();
        assert_eq!(broken.class(), ErrorClass::Transient);
        refusals.insert(broken.to_string());
    }
    // They all say what broke it first, and so does whoever comes later.
    refusals.insert(queue.try_publish(Message::new("late")).await.unwrap_err().to_string());
    refusals.insert(queue.try_reserve().await.unwrap_err().to_string());
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    tell("refused", refusals.first().unwrap());
    if step == Filled::Us.step() {
        let closed = queues.close().await;
        assert!(matches!(closed, Err(Broken::Write { .. })), "{closed:?}");
    } else {
        // No destructor, no last commit.
        std::process::abort();
    }
}

async fn call_until_refused(
    queue: &Queue,
    caller: usize,
    disk: &Path,
    step: &str,
    together: &Barrier,
) -> Broken {
    let mut held = Vec::new();
    for number in 0..100_000 {
        let name = format!("{caller}-{number}");
        let is_crowded = step.starts_with("somebody") && number >= CROWDED_AT;
        if is_crowded && number == CROWDED_AT {
            together.wait().await;
            if caller == 0 {
                crowd(disk);
            }
            together.wait().await;
        }
        let done = match is_crowded && step == Filled::SomebodyBeside.step() {
            true => take(queue).await.map(|delivery| held.extend(delivery)),
            false => publish(queue, &name, number % 4 == 3).await,
        };
        if let Err(broken) = done {
            return broken;
        }
    }
    panic!("the disk is full long before that");
}

/// Publishes one message, and works one off where `works`.
async fn publish(queue: &Queue, name: &str, works: bool) -> Result<(), Broken> {
    tell("sends", name);
    match queue.publish(Message::new(body(name))).await {
        Ok(_) => tell("sent", name),
        Err(PublishError::Broken(broken)) => return Err(broken),
        Err(error) => panic!("{error:?}"),
    }
    let Some(delivery) = (if works { take(queue).await? } else { None }) else { return Ok(()) };
    let taken = self::name(&delivery.message.body);
    tell("acks", &taken);
    match delivery.ack().await {
        Ok(()) => tell("acked", &taken),
        Err(SettleError::Broken(broken)) => return Err(broken),
        Err(error) => panic!("{error:?}"),
    }
    Ok(())
}

async fn take(queue: &Queue) -> Result<Option<Delivery>, Broken> {
    match queue.try_reserve().await {
        Ok(delivery) => Ok(delivery),
        Err(ReserveError::Broken(broken)) => Err(broken),
        Err(error) => panic!("{error:?}"),
    }
}

/// Takes all the room that there is.
fn crowd(disk: &Path) {
    let mut file = File::create(disk.join("crowd")).unwrap();
    loop {
        match file.write(&[0; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// It opens, or says why not, and takes nothing for damaged.
fn look_at_a_full_disk(disk: &Path) {
    let path = disk.join("queues.redb");
    match Queues::open(&path) {
        Ok(queues) => {
            drop(queues);
            tell("still", "opens");
        }
        Err(error @ OpenError::System { .. }) => tell("still", &error.to_string()),
        Err(error) => panic!("{error:?}"),
    }
}

async fn work_again(disk: &Path) {
    let path = disk.join("queues.redb");
    assert_eq!(verify(&path).unwrap().damaged, []);
    let queues = Queues::open(&path).unwrap();
    let queue = queues.declare("work", config()).await.unwrap();
    let mut after = None;
    loop {
        let page = queue.peek(State::Ready, after, 1_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for peeked in &page {
            tell("there", &name(&peeked.message.as_ref().unwrap().body));
        }
    }
    queue.publish(Message::new(body("4-0"))).await.unwrap();
    loop {
        let taken = queue.reserve_many(100, usize::MAX, Duration::ZERO).await.unwrap();
        if taken.is_empty() {
            break;
        }
        for delivery in taken {
            tell("handed-out", &name(&delivery.message.body));
            delivery.ack().await.unwrap();
        }
    }
    let depth = queue.depth().await.unwrap();
    assert_eq!((depth.ready, depth.delayed, depth.leased, depth.dead), (0, 0, 0, 0));
    queues.close().await.unwrap();
}

// --- the accounting ---

/// What the processes told.
#[derive(Debug, Default)]
struct Told {
    lines: BTreeMap<String, Vec<String>>,
}

impl Told {
    fn all(&self, what: &str) -> &[String] {
        self.lines.get(what).map_or(&[], Vec::as_slice)
    }

    fn set(&self, what: &str) -> BTreeSet<&String> {
        self.all(what).iter().collect()
    }
}

fn run(disk_kib: u32, filled: Filled) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT])
        .arg(std::env::current_exe().unwrap())
        .args([format!("{disk_kib}k"), filled.step().to_owned()])
        .env(DISK, folder.path())
        .output()
        .unwrap_or_else(|error| panic!("{MEANS}: {error}"));
    let (said, failed) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(said.lines().any(|line| line == "mounted"), "{MEANS}: {failed}");
    let mut told = Told::default();
    for line in said.lines() {
        if let Some((what, text)) = line.split_once(' ') {
            told.lines.entry(what.to_owned()).or_default().push(text.to_owned());
        }
    }
    assert_eq!((output.status.code(), output.status.signal()), (Some(0), None), "{failed}");
    let aborted = "134";
    let ends = [if matches!(filled, Filled::Us) { "0" } else { aborted }, "0", "0"];
    assert_eq!(told.all("ended"), ends, "{filled:?} on {disk_kib} KiB: {failed}");
    told
}

#[test]
fn a_full_disk_refuses_and_nothing_that_was_acknowledged_is_lost() {
    for (round, filled) in Filled::ALL.into_iter().cycle().take(12).enumerate() {
        // From round to round the last byte is taken at another place of the file.
        let disk_kib = 4_096 + u32::try_from(round).unwrap() * 68;
        let told = run(disk_kib, filled);
        let case = format!("{filled:?} on {disk_kib} KiB");

        let refused = &told.all("refused")[0];
        let beside = refused.starts_with("a write beside of the queue's file failed");
        assert_eq!(beside, matches!(filled, Filled::SomebodyBeside), "{case}: {refused}");
        assert!(refused.contains("No space left on device"), "{case}: {refused}");
        assert!(
            refused.contains("opened again") && refused.ends_with("make room on its disk"),
            "{case}: {refused}"
        );
        // An opening is a commit, too.
        let still = &told.all("still")[0];
        assert!(still == "opens" || still.ends_with("make room on its disk"), "{case}: {still}");

        let (sends, sent, acks, acked) =
            (told.set("sends"), told.set("sent"), told.set("acks"), told.set("acked"));
        assert!(sent.len() > 400 && acked.len() > 100, "{case}: {} and {}", sent.len(), acked.len());
        let there = told.set("there");
        assert_eq!(there.len(), told.all("there").len(), "{case}: doubled");
        for name in &there {
            assert!(sends.contains(name), "{case}: {name} was sent by nobody");
            assert!(!acked.contains(name), "{case}: {name} was acknowledged and is back");
        }
        for name in sent {
            // One whose acknowledgement had begun may be gone.
            assert!(acks.contains(name) || there.contains(name), "{case}: {name} is lost");
        }
        let mut all: Vec<_> = told.all("there").to_vec();
        all.push("4-0".to_owned());
        let handed_out: BTreeSet<_> = told.set("handed-out");
        assert_eq!(handed_out.len(), told.all("handed-out").len(), "{case}: handed out twice");
        assert_eq!(handed_out, all.iter().collect(), "{case}");
    }
}
