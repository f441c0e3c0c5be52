//! A process that uses the log is killed, a hundred and more times.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;
use crate::error::OpenError;

const FILE: &str = "AQUEDUCT_QUEUE_TEST_LOG";

/// Callers of the child.
const CALLERS: u64 = 4;
/// Between the numbers of two callers.
const APART: u64 = 1 << 32;

#[test]
fn what_was_acknowledged_survives_the_kill_of_the_process() {
    let mut random = Random::seeded(5);
    let mut kills = 0;
    while kills < 120 {
        let (_folder, path) = place();
        let mut acknowledged = BTreeSet::new();
        let mut maybe_gone = BTreeSet::new();
        let mut gone = BTreeSet::new();
        let mut begun = BTreeMap::new();
        let mut openings = 0;
        // The same file dies a dozen times.
        for _ in 0..12 {
            let mut child = Command::new(std::env::current_exe().expect("this test"))
                .args([
                    "--exact",
                    "log::redb::tests::kill::the_process_that_is_killed",
                    "--ignored",
                    "--nocapture",
                ])
                .env(FILE, &path)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("a process");
            let lines = BufReader::new(child.stdout.take().expect("a pipe"));
            let mut until_kill = random.below(400);
            let (mut seen, mut killed) = (false, false);
            for line in lines.lines() {
                let line = line.expect("text");
                // A line that was cut says nothing.
                if let Some((kind, rest)) = line.split_once(' ')
                    && let Some(number) = rest.strip_suffix('.').and_then(|number| number.parse::<u64>().ok())
                {
                    seen = true;
                    match kind {
                        "published" => drop(acknowledged.insert(number)),
                        "removing" => drop(maybe_gone.insert(number)),
                        "removed" => drop(gone.insert(number)),
                        "begun" => *begun.entry(number).or_insert(0) += 1,
                        _ => {}
                    }
                }
                if until_kill == 0 && !killed {
                    if let Ok(None) = child.try_wait()
                        && seen
                    {
                        let error = try_open(&path, &clock()).expect_err("another process has it");
                        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
                    }
                    child.kill().expect("killed");
                    killed = true;
                }
                // What is still in the pipe was said before it died.
                until_kill = until_kill.saturating_sub(1);
            }
            child.wait().expect("dead");
            kills += 1;

            let (log, loaded) = open(&path);
            assert!(loaded.opening > openings, "{} after {openings}", loaded.opening);
            openings = loaded.opening;
            let there: BTreeMap<u64, u32> =
                loaded.heads.iter().map(|head| (head.id.0, head.attempts)).collect();
            for id in &acknowledged {
                assert!(there.contains_key(id) || maybe_gone.contains(id), "message {id} is lost");
            }
            for id in &gone {
                assert!(!there.contains_key(id), "message {id} is back");
            }
            for (id, attempts) in &begun {
                if let Some(there) = there.get(id) {
                    assert!(there >= attempts, "message {id} forgot an attempt");
                }
            }
            for head in &loaded.heads {
                assert_eq!(log.read(head.id), Ok(body(head.id.0)), "message {}", head.id);
                assert!(head.id.0 < loaded.next_id);
            }
        }
        assert!(acknowledged.len() > 100 && !gone.is_empty() && !begun.is_empty());
    }
}

/// Publishes, begins and removes, and says so once it is safe. Each caller has its own numbers.
#[test]
#[ignore = "it is the process that the test above kills"]
fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let (log, loaded) = try_open(Path::new(&path), &Clock::system()).expect("opens");
    let say = |kind: &str, id: u64| {
        let mut out = std::io::stdout().lock();
        // One write a line; the last one may be cut all the same.
        out.write_all(format!("{kind} {id}.\n").as_bytes()).and_then(|()| out.flush()).expect("heard");
    };
    std::thread::scope(|scope| {
        for caller in 1..=CALLERS {
            let (log, loaded, say) = (&log, &loaded, &say);
            scope.spawn(move || {
                let mine = caller * APART..(caller + 1) * APART;
                let known = loaded.heads.iter().map(|head| (head.id.0, head.attempts));
                let mut attempts: BTreeMap<u64, u32> = known.filter(|(id, _)| mine.contains(id)).collect();
                let mut there: Vec<u64> = attempts.keys().copied().collect();
                let mut next = loaded.next_id.max(mine.start).max(there.last().map_or(0, |last| last + 1));
                // Numbers of a caller grow with the openings, so that none comes twice.
                if !mine.contains(&next) {
                    next = mine.start + u64::from(loaded.opening) * 1_000_000;
                }
                let mut random = Random::seeded(u64::from(loaded.opening) << 8 | caller);
                loop {
                    let count = 1 + random.below(3);
                    let ids = next..next + count;
                    put(log, ids.clone().map(insert).collect()).expect("written");
                    next += count;
                    for id in ids {
                        say("published", id);
                        there.push(id);
                    }
                    let at = usize::try_from(random.below(there.len() as u64)).expect("small");
                    let id = there[at];
                    if there.len() > 20 && random.below(3) > 0 {
                        there.swap_remove(at);
                        say("removing", id);
                        put(log, vec![Change::Remove(MessageId(id))]).expect("written");
                        say("removed", id);
                    } else {
                        let attempt = attempts.entry(id).or_insert(0);
                        *attempt += 1;
                        log.begin(&[(MessageId(id), *attempt)]).expect("noted");
                        say("begun", id);
                    }
                }
            });
        }
    });
}
