//! Programs as stages: good ones, and every way of being a bad one.

use std::path::PathBuf;
use std::time::Duration;

use aqueduct_core::{
    Classified, Clock, Counts, ErrorClass, Item, ItemId, PartitionId, Payload, Record, Shutdown, SourceId,
    Timestamp,
};
use aqueduct_stream::{
    AsyncStage, ConfigError, Ended, ExecBuilder, ExecStage, OnError, Options, Outcome, Report, RunFailure,
    StageError,
};

use crate::support::{Folder, words};

/// What every program below begins with: `say` answers, `items` reads.
const PRELUDE: &str = r#"
import json, os, sys, time

def say(**answer):
    print(json.dumps(answer), flush=True)

def items():
    for line in sys.stdin:
        request = json.loads(line)
        yield request["id"], request["item"]

def once(name):
    """True for the first process that asks."""
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False

def note(name, text):
    with open(name, "a") as file:
        file.write(f"{text}\n")
"#;

/// A program in the folder, written in Python.
fn python(folder: &Folder, program: &str) -> ExecBuilder {
    let there = std::process::Command::new("python3").arg("--version").output();
    assert!(there.is_ok_and(|output| output.status.success()), "install it with: apt-get install python3");
    folder.write("program.py", format!("{PRELUDE}{program}"));
    ExecStage::builder("python3").arguments(["-S", "program.py"]).folder(folder.at(""))
}

/// A program that answers each item with itself, except where `special` does something else first.
fn special(folder: &Folder, special: &str) -> ExecBuilder {
    python(
        folder,
        &format!("for id, item in items():\n    n = item['n']\n    {special}\n    say(id=id, item=item)\n"),
    )
}

async fn run_with(folder: &Folder, stage: ExecStage, rule: OnError) -> Result<Report, RunFailure> {
    folder
        .pipeline()
        .async_stage("program", stage)
        .on_error(rule)
        .sink("out", folder.file_sink())
        .options(Options { batch_items: 7, data_dir: Some(folder.at("data")), ..Options::default() })
        .run()
        .await
}

fn item(n: u64) -> Item {
    let record = Record::parse(format!("{{\"n\":{n}}}").into_bytes()).unwrap();
    Item { id: ItemId::new(SourceId(0), PartitionId(0), n), payload: Payload::Record(record) }
}

/// Waits for something that a process does, without a clock.
async fn until(mut holds: impl FnMut() -> bool) {
    // Far more turns than any of this takes: a test that would wait for ever fails.
    for _ in 0..50_000_000_u64 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never happened");
}

/// Whether a process is there and has not ended.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn numbers(range: impl Iterator<Item = u64>) -> String {
    range.map(|n| format!("{{\"n\": {n}}}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_answer_reaches_the_sink_in_the_order_of_the_input() {
    let folder = Folder::new();
    folder.write_numbers(100);
    // Eight threads answer in whatever order they are done.
    let program = "
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
lock = Lock()
def work(id, item):
    n = item['n']
    time.sleep(n % 3 / 1000)
    if n % 10 == 1: answer = dict(id=id, items=[{'n': n, 'half': 0}, {'n': n, 'half': 1}])
    elif n % 10 == 2: answer = dict(id=id, skip='two is dull')
    elif n % 10 == 3: answer = dict(id=id, error='three is bad')
    elif n % 10 == 4 and once(f'tried-{n}'): answer = dict(id=id, error='not yet', retry=True)
    else: answer = dict(id=id, item={'n': n, 'seen': True})
    with lock: say(**answer)
with ThreadPoolExecutor(8) as pool:
    for id, item in items(): pool.submit(work, id, item)
";
    let stage = python(&folder, program).build().unwrap();
    let report = run_with(&folder, stage, OnError::DeadLetter).await.unwrap();
    let counts =
        Counts { read: 100, spawned: 10, delivered: 90, skipped: 10, dead_lettered: 10, ..Counts::default() };
    assert_eq!((report.counts, report.retries), (counts, 10));
    let out = folder.read("out.jsonl");
    let order: Vec<u64> =
        out.lines().map(|line| line[6..].split([',', '}']).next().unwrap().trim().parse().unwrap()).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(folder.letters().await[0].0, "three is bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_the_items_and_end_with_the_run() {
    let folder = Folder::new();
    folder.write_numbers(200);
    let program = "
note('pids', os.getpid())
for id, item in items():
    say(id=id, item={**item, 'by': os.getpid()})
note('ended', os.getpid())
";
    let stage = python(&folder, program).processes(3).in_flight(2).build().unwrap();
    assert_eq!(stage.concurrency(), 6);
    assert_eq!(run_with(&folder, stage, OnError::Stop).await.unwrap().counts.delivered, 200);
    let (mut pids, mut ended) = (folder.read("pids"), folder.read("ended"));
    for list in [&mut pids, &mut ended] {
        let mut lines: Vec<&str> = list.lines().collect();
        lines.sort_unstable();
        *list = lines.join(" ");
    }
    assert_eq!(pids.split(' ').count(), 3);
    assert_eq!(pids, ended, "each saw the end of its input and ended by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_an_answer_times_out_and_its_neighbours_lose_nothing() {
    let folder = Folder::new();
    let (clock, owner) = Clock::manual(Timestamp(0));
    let stage =
        special(&folder, "if n == 3: note('hung', n); time.sleep(1000)").clock(clock).build().unwrap();
    let (three, four) = (item(3), item(4));
    let hung = folder.at("hung");
    let moved = async {
        until(|| hung.exists()).await;
        owner.advance(ExecBuilder::TIMEOUT);
    };
    let driven = async {
        let (error, ()) = tokio::join!(stage.apply(&three), moved);
        // The next process starts after a wait.
        until(|| owner.waiting() > 0).await;
        owner.advance(Duration::from_millis(100));
        error.unwrap_err()
    };
    let (error, neighbour) = tokio::join!(biased; driven, stage.apply(&four));
    assert_eq!(error.class(), ErrorClass::Transient);
    assert_eq!(error.to_string(), "python3 did not answer within 30 s and was ended");
    assert!(matches!(neighbour, Ok(Outcome::Emit(_))), "{neighbour:?}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_read_times_out() {
    let folder = Folder::new();
    let (clock, owner) = Clock::manual(Timestamp(0));
    let program = "note('started', 1)\ntime.sleep(1000)";
    let stage = python(&folder, program).clock(clock).build().unwrap();
    // More than any pipe holds.
    let text = format!("{{\"n\":\"{}\"}}", "x".repeat(1 << 20));
    let large = Item { payload: Payload::Record(Record::parse(text.into_bytes()).unwrap()), ..item(0) };
    let started = folder.at("started");
    let moved = async {
        until(|| started.exists()).await;
        owner.advance(ExecBuilder::TIMEOUT);
    };
    let (result, ()) = tokio::join!(stage.apply(&large), moved);
    assert_eq!(result.unwrap_err().class(), ErrorClass::Transient);
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_item_on_which_the_program_ends_fails_alone() {
    let folder = Folder::new();
    folder.write_numbers(40);
    let ends = "if n == 12: print('no\\n twelve,\\x1b please', file=sys.stderr); sys.exit(3)";
    let stage = special(&folder, ends).build().unwrap();
    let report = run_with(&folder, stage, OnError::DeadLetter).await.unwrap();
    assert_eq!((report.counts.delivered, report.counts.dead_lettered, report.retries), (39, 1, 0));
    assert_eq!(folder.read("out.jsonl"), numbers((0..40).filter(|n| *n != 12)));
    let letters = folder.letters().await;
    assert_eq!(letters[0].1, "{\"n\":12}");
    assert!(
        letters[0].0.starts_with("python3 ended with exit status: 3; it said: no | twelve,"),
        "{letters:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_now_and_then_is_replaced_and_nothing_is_lost() {
    let folder = Folder::new();
    folder.write_numbers(60);
    let stage = special(&folder, "if n % 20 == 5 and once(f'died-{n}'): os._exit(1)").build().unwrap();
    let report = run_with(&folder, stage, OnError::Stop).await.unwrap();
    assert_eq!(report.counts, Counts { read: 60, delivered: 60, ..Counts::default() });
    assert_eq!(folder.read("out.jsonl"), numbers(0..60));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_at_once_stops_the_run_whatever_the_rule() {
    for rule in [OnError::Stop, OnError::DeadLetter, OnError::Skip] {
        let folder = Folder::new();
        folder.write_numbers(20);
        let program = "print('cannot find my model', file=sys.stderr)\nsys.exit(7)";
        let stage = python(&folder, program).restarts(2, Duration::from_secs(60)).build().unwrap();
        let failure = run_with(&folder, stage, rule).await.unwrap_err();
        let text = words(&failure.error);
        for piece in [
            "program failed on item a0a0a0",
            "python3 ended with exit status: 7; it said: cannot find my model",
            "started again 2 times within 60 s",
            "restarts_max",
        ] {
            assert!(text.contains(piece), "{piece:?} is not in {text}");
        }
        let counts = failure.report.unwrap().counts;
        assert_eq!(
            (counts.delivered, counts.dead_lettered, counts.skipped),
            (0, 0, 0),
            "no item is to blame"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_protocol_fails_the_item_that_did_it_and_is_named() {
    for (what, reason) in [
        (
            "if n == 5: say(id='a0a0d9999', item=item); continue",
            "it answered item \"a0a0d9999\", which it was not given",
        ),
        ("if n == 5: print('hello', flush=True); continue", "it wrote a line that is not a JSON object"),
        ("if n == 5: say(item=item); continue", "it wrote an answer without the id of an item"),
        (
            "if n == 5: print('x' * 5000, flush=True); continue",
            "it wrote a line of more than 2000 bytes (stage key answer_bytes_max)",
        ),
        ("if n == 5: os.close(1); time.sleep(1000)", "python3 ended with signal: 9"),
    ] {
        let folder = Folder::new();
        folder.write_numbers(20);
        let stage = special(&folder, what).answer_bytes_max(2000).build().unwrap();
        let report = run_with(&folder, stage, OnError::DeadLetter).await.unwrap();
        assert_eq!((report.counts.delivered, report.counts.dead_lettered), (19, 1), "{what}");
        let letters = folder.letters().await;
        assert!(letters[0].0.contains(reason), "{reason:?} is not in {letters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_answers_stands() {
    let folder = Folder::new();
    folder.write_numbers(30);
    let twice = "if n == 5: say(id=id, item={'n': 5, 'first': True})";
    let stage = special(&folder, twice).build().unwrap();
    let report = run_with(&folder, stage, OnError::Stop).await.unwrap();
    assert_eq!(report.counts, Counts { read: 30, delivered: 30, ..Counts::default() });
    assert_eq!(folder.read("out.jsonl").lines().nth(5), Some("{\"n\": 5, \"first\": true}"));

    let always =
        special(&folder, "say(id=id, item=item)").restarts(1, Duration::from_secs(60)).build().unwrap();
    let folder = Folder::new();
    folder.write_numbers(30);
    let text = words(&run_with(&folder, always, OnError::Stop).await.unwrap_err().error);
    assert!(text.contains("it answered item a0a0") && text.contains(" twice"), "{text}");
}

/// The second answer comes while the next item is alone with the program; that item was dead-lettered for it.
#[tokio::test(flavor = "multi_thread")]
async fn no_item_is_blamed_for_a_second_answer_to_another() {
    let folder = Folder::new();
    folder.write_numbers(5);
    let always = special(&folder, "say(id=id, item=item)").build().unwrap();
    let report = run_with(&folder, always, OnError::DeadLetter).await.unwrap();
    assert_eq!(report.counts, Counts { read: 5, delivered: 5, ..Counts::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_error_never_holds_a_program_up() {
    let folder = Folder::new();
    folder.write_numbers(20);
    let stage = special(&folder, "sys.stderr.write('noise ' * 100_000)").build().unwrap();
    assert_eq!(run_with(&folder, stage, OnError::Stop).await.unwrap().counts.delivered, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_named_before_anything_is_read() {
    let folder = Folder::new();
    folder.write_numbers(3);
    folder.write("plain.txt", "");
    let path = Some(folder.at("").into_os_string());
    for (program, reason) in [
        ("./score", "score does not exist"),
        ("./plain.txt", "plain.txt is not executable; make it so with chmod +x"),
        ("./", " is not a file"),
        ("score", "no folder of PATH has it; install it, or name its path"),
        ("plain.txt", "plain.txt is not executable"),
    ] {
        let stage =
            ExecStage::builder(program).folder(folder.at("")).search_path(path.clone()).build().unwrap();
        let failure = run_with(&folder, stage, OnError::Skip).await.unwrap_err();
        let text = words(&failure.error);
        assert_eq!(failure.error.class(), ErrorClass::Invalid);
        assert!(
            text.contains(&format!("the program {program} cannot be run")) && text.contains(reason),
            "{text}"
        );
        assert!(!folder.at("data").exists(), "nothing was touched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_end_is_killed_with_what_it_started() {
    let folder = Folder::new();
    folder.write_numbers(3);
    let program = "
import subprocess
other = subprocess.Popen(['sleep', '1000'])
note('pids', os.getpid())
note('pids', other.pid)
for id, item in items(): say(id=id, item=item)
time.sleep(1000)
";
    let stage = python(&folder, program).grace(Duration::from_millis(50)).build().unwrap();
    assert_eq!(run_with(&folder, stage, OnError::Stop).await.unwrap().counts.delivered, 3);
    for pid in folder.read("pids").lines() {
        until(|| !lives(pid)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_at_once_waits_for_no_program() {
    let folder = Folder::new();
    folder.write_numbers(30);
    let stage = special(&folder, "if n == 5: note('pid', os.getpid()); time.sleep(1000)").build().unwrap();
    let (shutdown, signal) = Shutdown::new();
    let running = folder
        .pipeline()
        .async_stage("program", stage)
        .sink("out", folder.file_sink())
        .options(Options { shutdown: signal, data_dir: Some(folder.at("data")), ..Options::default() })
        .run();
    let pid = folder.at("pid");
    let stopped = async {
        until(|| std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n'))).await;
        shutdown.stop();
    };
    let (report, ()) = tokio::join!(running, stopped);
    assert_eq!(report.unwrap().ended, Ended::Stopped);
    assert!(!lives(&folder.read("pid")));
}

#[test]
fn a_description_that_cannot_be_right_is_refused() {
    let builder = || ExecStage::builder("x");
    let second = Duration::from_secs(1);
    for (wrong, field) in [
        (ExecStage::builder(PathBuf::new()), "program"),
        (builder().processes(0), "processes"),
        (builder().processes(257), "processes"),
        (builder().in_flight(0), "in_flight"),
        (builder().timeout(Duration::ZERO), "timeout"),
        (builder().answer_bytes_max(63), "answer_bytes_max"),
        (builder().restarts(1001, second), "restarts"),
        (builder().restarts(1, Duration::ZERO), "restart window"),
        (builder().grace(second * 90_000), "grace"),
    ] {
        match wrong.build() {
            Err(ConfigError::Value { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert!(StageError::stop("x").stops() && !StageError::permanent("x").stops());
}
