//! Question: what does the engine cost over a loop written by hand?
//!
//! Workload: 1,000,000 evidence items of about 220 bytes (a seed makes them), read, parsed, scored, filtered and
//! written, whole processes on all cores, everything durable at the end. The loop reads blocks, parses with the
//! same serde types on every core, writes in input order and syncs once; the engine keeps a ledger besides.
//!
//! A good answer: typed stages at most 1.5 x the loop; the A/A row shows how much of that is noise. Rows into
//! SQLite: at most 2.5 x a bare loop of multi-row inserts into the same table.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use aqueduct_benches::arms::{self, Arm};
use aqueduct_benches::evidence::{self, Evidence, SCORE_MIN, Scored, score};
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::{Guarantee, Jsonl, JsonlSink, Options, Pipeline, SqliteSink};

const ITEMS: u64 = 1_000_000;
const ROUNDS: usize = 5;

const FILES: &[Arm] = &[
    Arm { name: "loop", label: "hand-written loop, jsonl to jsonl" },
    Arm { name: "loop", label: "the same again (A/A control)" },
    Arm { name: "typed", label: "engine, typed stages, exactly once" },
    Arm { name: "file", label: "engine, pipeline file, exactly once" },
];

const TABLES: &[Arm] = &[
    Arm { name: "rows", label: "bare loop of multi-row inserts" },
    Arm { name: "rows", label: "the same again (A/A control)" },
    Arm { name: "table", label: "engine, jsonl to SQLite, exactly once" },
    Arm { name: "table-weak", label: "engine, jsonl to SQLite, at least once" },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Ok(arm) = std::env::var(arms::ARM) {
        let folder = PathBuf::from(&arguments[0]);
        run_arm(&arm, &folder)?;
        arms::print_peak();
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    evidence::write_file(&folder.path().join("in.jsonl"), ITEMS)?;
    let clean = || {
        for name in ["out.jsonl", "out.db", "out.db-wal", "out.db-shm"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        let _ = std::fs::remove_dir_all(folder.path().join("data"));
    };
    let place = |_: &Arm| vec![folder.path().display().to_string()];
    for (title, arms) in [("files", FILES), ("tables", TABLES)] {
        arms::print(title, arms, &arms::alternate(arms, ROUNDS, place, clean));
    }
    Ok(())
}

fn run_arm(arm: &str, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    match arm {
        "loop" => hand_written(&folder.join("in.jsonl"), &folder.join("out.jsonl"))?,
        "rows" => bare_rows(folder)?,
        "typed" => {
            engine(folder, |pipeline| pipeline.sink("out", JsonlSink::new(folder.join("out.jsonl"))), None)?
        }
        "file" => from_file(folder)?,
        "table" => engine(folder, |pipeline| pipeline.sink("out", table(folder)), None)?,
        "table-weak" => {
            engine(folder, |pipeline| pipeline.sink("out", table(folder)), Some(Guarantee::AtLeastOnce))?;
        }
        other => return Err(format!("no arm {other}").into()),
    }
    Ok(())
}

/// The same work from a pipeline file.
fn from_file(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = folder.join("pipeline.toml");
    std::fs::write(&file, PIPELINE)?;
    let environment = |_: &str| None;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let spec = PipelineSpec::load(&file, &Inputs::new(&environment).with_cores(cores))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(assemble(&spec, RunRequest::default()).run())?;
    Ok(())
}

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

[[stage]]
name = "good"
type = "filter"
when = "item.score >= 20.0"

[[sink]]
name = "out"
type = "jsonl"
path = "out.jsonl"
"#;

fn table(folder: &Path) -> SqliteSink {
    SqliteSink::new(folder.join("out.db"), "evidence")
}

fn engine(
    folder: &Path,
    sink: impl FnOnce(Pipeline) -> Pipeline,
    guarantee: Option<Guarantee>,
) -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Pipeline::named("bench")
        .source(Jsonl::new(folder.join("in.jsonl")))
        .map("score", |item: &Evidence| Scored {
            id: item.id.clone(),
            project: item.project.clone(),
            score: score(item),
        })
        .filter("good", |item: &Scored| item.score >= SCORE_MIN)
        .options(Options { guarantee, data_dir: Some(folder.join("data")), ..Options::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(sink(pipeline).run())?;
    Ok(())
}

/// Blocks cut at line ends, parsed on all cores, written in order by whoever has the next one.
#[expect(
    clippy::unwrap_used,
    reason = "what a person would write by hand, without the engine's care for errors"
)]
fn hand_written(input: &Path, output: &Path) -> std::io::Result<()> {
    struct Input {
        file: File,
        rest: Vec<u8>,
        next: u64,
    }
    struct Output {
        file: File,
        early: BTreeMap<u64, Vec<u8>>,
        next: u64,
    }
    let input = Mutex::new(Input { file: File::open(input)?, rest: Vec::new(), next: 0 });
    let output = Mutex::new(Output { file: File::create(output)?, early: BTreeMap::new(), next: 0 });
    // Keeps a fast core from running away with memory.
    let room = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let (number, block) = {
                        let mut input = input.lock().unwrap();
                        let mut block = std::mem::take(&mut input.rest);
                        let count = (&mut input.file).take(256 * 1024).read_to_end(&mut block).unwrap();
                        if count == 0 && block.is_empty() {
                            return;
                        }
                        if count > 0 {
                            let end = block
                                .iter()
                                .rposition(|byte| *byte == b'\n')
                                .map_or(block.len(), |at| at + 1);
                            input.rest = block.split_off(end);
                        }
                        input.next += 1;
                        (input.next - 1, block)
                    };
                    let mut lines = Vec::with_capacity(block.len() / 2);
                    for line in block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        let item: Evidence = serde_json::from_slice(line).unwrap();
                        let score = score(&item);
                        if score >= SCORE_MIN {
                            let scored = Scored { id: item.id, project: item.project, score };
                            serde_json::to_writer(&mut lines, &scored).unwrap();
                            lines.push(b'\n');
                        }
                    }
                    let mut output = output.lock().unwrap();
                    while output.early.len() > 64 && number != output.next {
                        output = room.wait(output).unwrap();
                    }
                    output.early.insert(number, lines);
                    loop {
                        let next = output.next;
                        let Some(lines) = output.early.remove(&next) else { break };
                        output.file.write_all(&lines).unwrap();
                        output.next += 1;
                    }
                    room.notify_all();
                }
            });
        }
    });
    output.into_inner().unwrap().file.sync_all()
}

/// The rows that the engine writes, made in memory and inserted 500 at a time, in one transaction for each 10,000.
fn bare_rows(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
    let mut random = fastrand::Rng::with_seed(1);
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.join("out.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("create table evidence (item_id primary key, id, project, score) without rowid")
            .execute(&mut connection)
            .await?;
        let insert = format!("insert into evidence values {}", vec!["(?,?,?,?)"; 500].join(","));
        let mut number = 0_u64;
        while number < ITEMS {
            let mut transaction = connection.begin().await?;
            for _ in 0..20 {
                let mut query = sqlx::query(AssertSqlSafe(insert.as_str()));
                for _ in 0..500 {
                    query = query
                        .bind(format!("a0a0i{:09}", number * 220))
                        .bind(format!("ev-{number:08}"))
                        .bind(format!("project-{:02}", number % 64))
                        .bind(random.f64() * 80.0);
                    number += 1;
                }
                query.execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        connection.close().await
    })?;
    Ok(())
}
