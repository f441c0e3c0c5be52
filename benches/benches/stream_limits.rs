//! Question: does the engine keep the promises that are not ratios?
//!
//! Workload: evidence items of about 220 bytes. Each row is one promise with its figure: items a second on one
//! thread (at least 50,000), time from a line to its commit for an item alone (under 1 ms), largest memory at
//! 1 and at 10 million items (under 150 MiB, and alike), time to check a file (30 ms), and time from a start
//! after a kill to the first new commit (1 s, whole process, on a database of several hundred thousand rows).
//!
//! A good answer: every row within its promise.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aqueduct_benches::arms;
use aqueduct_benches::evidence::{self, Evidence, Scored, score};
use aqueduct_core::{PartitionId, Position};
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::{
    Chunk, ChunkContent, Decode, Jsonl, JsonlSink, Options, Pipeline, Progress, Source, SourceError,
    SqliteSink,
};

const PIPELINE: &str = r#"
name = "bench"
data_dir = "data"
[source]
type = "jsonl"
path = "in.jsonl"
[[stage]]
name = "score"
type = "map"
keep = ["id", "project"]
set = { score = "100.0 * (0.5 * double(item.passed) / double(item.passed + item.failed) + 0.3 * item.coverage)" }
[sink]
type = "jsonl"
path = "out.jsonl"
"#;

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stdout, reason = "a bench prints its result")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Ok(arm) = std::env::var(arms::ARM) {
        run_arm(&arm, Path::new(&arguments[0]))?;
        arms::print_peak();
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let place = folder.path().display().to_string();
    let input = folder.path().join("in.jsonl");
    std::fs::write(folder.path().join("pipeline.toml"), PIPELINE)?;

    evidence::write_file(&input, 1_000_000)?;
    let rate = |run: arms::Run| 1e6 / run.wall.as_secs_f64();
    println!("{:<58} {:>12}", "promise", "figure");
    let one_thread = median(3, || {
        clean(folder.path());
        rate(arms::run("one-thread", &[&place]))
    });
    println!("{:<58} {one_thread:>12.0}", "items/s on one thread, at least 50,000");
    let small = peak(folder.path(), &place);
    println!("{:<58} {small:>12.0}", "peak MiB of a pipeline file at 1 M items, at most 150");
    let rows = peak_of("table", folder.path(), &place);
    println!("{:<58} {rows:>12.0}", "peak MiB into SQLite at 1 M items, at most 150");
    let check = median(9, || arms::run("check", &[&place]).wall.as_secs_f64() * 1e3);
    println!("{:<58} {check:>12.1}", "ms to check a file, whole process, at most 30");
    let restart = median(5, || restart(folder.path(), &place));
    println!("{:<58} {restart:>12.1}", "ms from restart after kill to a new commit, at most 1000");
    clean(folder.path());
    let (half, most) = lone_item(folder.path())?;
    println!("{:<58} {half:>12.3}", "ms from line to commit, item alone, p50, at most 1");
    println!("{:<58} {most:>12.3}", "ms from line to commit, item alone, p99");
    evidence::write_file(&input, 10_000_000)?;
    let large = peak(folder.path(), &place);
    println!("{:<58} {large:>12.0}", "peak MiB of a pipeline file at 10 M items, at most 150");
    let rows = peak_of("table", folder.path(), &place);
    println!("{:<58} {rows:>12.0}", "peak MiB into SQLite at 10 M items, at most 150");
    Ok(())
}

fn clean(folder: &Path) {
    for name in ["out.jsonl", "out.db", "out.db-wal", "out.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    let _ = std::fs::remove_dir_all(folder.join("data"));
}

fn median(rounds: usize, mut measure: impl FnMut() -> f64) -> f64 {
    let mut figures: Vec<f64> = (0..rounds).map(|_| measure()).collect();
    figures.sort_by(f64::total_cmp);
    figures[rounds / 2]
}

fn peak(folder: &Path, place: &str) -> f64 {
    peak_of("file", folder, place)
}

fn peak_of(arm: &str, folder: &Path, place: &str) -> f64 {
    clean(folder);
    arms::run(arm, &[place]).peak_mib
}

/// Kills a run into SQLite once it has committed a good part, and times the next one to its first commit.
#[expect(clippy::disallowed_methods, reason = "a bench measures the machine's time")]
fn restart(folder: &Path, place: &str) -> f64 {
    clean(folder);
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .env(arms::ARM, "table")
        .arg(place)
        .stdout(Stdio::null())
        .spawn()
        .expect("this program starts again");
    // 30 MB of rows and log are several hundred thousand items.
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |found| found.len());
    let begun = Instant::now();
    while size("out.db") + size("out.db-wal") < 30_000_000 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run to be killed makes no progress");
        std::thread::yield_now();
    }
    child.kill().expect("the child runs");
    let _ = child.wait();
    arms::run("table-some", &[place]).wall.as_secs_f64() * 1e3
}

fn run_arm(arm: &str, folder: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    match arm {
        "file" => {
            runtime.block_on(assemble(&load(folder)?, RunRequest::default()).run())?;
        }
        "check" => {
            assemble(&load(folder)?, RunRequest::default()).guarantees()?;
        }
        "one-thread" => {
            let pipeline = typed(folder, Options { workers: 1, ..options(folder) });
            runtime.block_on(pipeline.sink("out", JsonlSink::new(folder.join("out.jsonl"))).run())?;
        }
        "table" | "table-some" => {
            let limit = (arm == "table-some").then_some(100);
            let pipeline = typed(folder, Options { limit, ..options(folder) });
            runtime
                .block_on(pipeline.sink("out", SqliteSink::new(folder.join("out.db"), "evidence")).run())?;
        }
        other => return Err(format!("no arm {other}").into()),
    }
    Ok(())
}

fn load(folder: &Path) -> Result<PipelineSpec, Failure> {
    let environment = |_: &str| None;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(PipelineSpec::load(&folder.join("pipeline.toml"), &Inputs::new(&environment).with_cores(cores))?)
}

fn options(folder: &Path) -> Options {
    Options { data_dir: Some(folder.join("data")), ..Options::default() }
}

fn typed(folder: &Path, options: Options) -> Pipeline {
    Pipeline::named("bench")
        .source(Jsonl::new(folder.join("in.jsonl")).named("in.jsonl"))
        .map("score", |item: &Evidence| Scored {
            id: item.id.clone(),
            project: item.project.clone(),
            score: score(item),
        })
        .options(options)
}

/// Hands out one item at a time, each only when the one before is committed, and notes how long that took.
struct OneByOne {
    progress: Arc<Progress>,
    lines: Vec<bytes::Bytes>,
    decoder: Arc<dyn Decode>,
    given: u64,
    offset: u64,
    handed_over: Option<Instant>,
    times: Arc<std::sync::Mutex<Vec<f64>>>,
}

impl Source for OneByOne {
    fn describe(&self) -> String {
        "one by one".to_owned()
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(vec!["memory".to_owned()])
    }

    fn open(&mut self, _: usize, _: PartitionId, _: Option<&Position>) -> Result<(), SourceError> {
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a bench measures the machine's time")]
    fn next(&mut self, _: usize) -> Result<Option<Chunk>, SourceError> {
        while self.progress.snapshot().delivered < self.given {
            std::hint::spin_loop();
        }
        if let Some(begun) = self.handed_over {
            self.times
                .lock()
                .expect("nobody panics under this lock")
                .push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let Some(bytes) = self.lines.pop() else { return Ok(None) };
        let chunk = Chunk {
            partition: PartitionId(0),
            offset: self.offset,
            end: self.offset + bytes.len() as u64,
            line: self.given + 1,
            items: 1,
            weight: bytes.len(),
            content: ChunkContent::Bytes { bytes: bytes.clone(), unterminated: false },
        };
        self.offset += bytes.len() as u64;
        self.given += 1;
        self.handed_over = Some(Instant::now());
        Ok(Some(chunk))
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::clone(&self.decoder)
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }
}

/// The median and the 99th percentile of 2,000 items, in milliseconds, through typed stages into a file.
fn lone_item(folder: &Path) -> Result<(f64, f64), Failure> {
    let mut random = fastrand::Rng::with_seed(7);
    let lines = (0..2000).map(|number| {
        let mut line = Vec::new();
        evidence::write_item(&mut line, number, &mut random);
        line.into()
    });
    let options = options(folder);
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let source = OneByOne {
        progress: Arc::clone(&options.progress),
        lines: lines.collect(),
        decoder: Jsonl::new(PathBuf::new()).decoder(),
        given: 0,
        offset: 0,
        handed_over: None,
        times: Arc::clone(&times),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let pipeline = Pipeline::named("alone")
        .source(source)
        .map("score", |item: &Evidence| Scored {
            id: item.id.clone(),
            project: item.project.clone(),
            score: score(item),
        })
        .sink("out", JsonlSink::new(folder.join("out.jsonl")))
        .options(options);
    runtime.block_on(pipeline.run())?;
    let mut times = std::mem::take(&mut *times.lock().expect("nobody panics under this lock"));
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}
