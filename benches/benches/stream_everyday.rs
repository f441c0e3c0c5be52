//! Question: do the everyday parts cost what they may?
//!
//! Workload: each row is one promise with its figure, whole processes on all cores. Four sinks behind a route
//! against one sink with the same items (at most 1.3 x); memory of a deduplication that remembers 10 million keys,
//! also when it takes them back from the ledger (at most 500 MiB); a replay of 100,000 dead letters into SQLite (at
//! least 20,000 a second); a dry run on an input of 10 GB (1 s).
//!
//! A good answer: every row within its promise.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::path::Path;

use aqueduct_benches::arms::{self, Arm};
use aqueduct_benches::evidence;
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};
use aqueduct_stream::Replay;

type Failure = Box<dyn std::error::Error>;

const ITEMS: u64 = 1_000_000;
const KEYS: u64 = 10_000_000;
const LETTERS: u64 = 100_000;
const LARGE_BYTES: u64 = 10_000_000_000;

const ROUTES: &[Arm] = &[
    Arm { name: "one", label: "one sink" },
    Arm { name: "one", label: "the same again (A/A control)" },
    Arm { name: "four", label: "a route to four sinks" },
];

const HEAD: &str = "name = \"bench\"\ndata_dir = \"data\"\n[source]\ntype = \"jsonl\"\npath = \"in.jsonl\"\n";

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

    evidence::write_file(&input, ITEMS)?;
    std::fs::write(folder.path().join("one.toml"), one_sink())?;
    std::fs::write(folder.path().join("four.toml"), four_sinks())?;
    let runs = arms::alternate(ROUTES, 5, |_| vec![place.clone()], || clean(folder.path()));
    arms::print("route, at most 1.3 x", ROUTES, &runs);

    println!("{:<58} {:>12}", "promise", "figure");
    write_lines(&input, LETTERS, |_| 1)?;
    std::fs::write(folder.path().join("letters.toml"), failing("item.k > 1"))?;
    std::fs::write(folder.path().join("mended.toml"), failing("item.k > 0"))?;
    let mut rates = Vec::new();
    for _ in 0..5 {
        clean(folder.path());
        let _ = arms::run("letters", &[&place]);
        rates.push(LETTERS as f64 / arms::run("replay", &[&place]).wall.as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!("{:<58} {:>12.0}", "letters/s replayed into SQLite, at least 20000", rates[rates.len() / 2]);

    clean(folder.path());
    std::fs::write(folder.path().join("dedupe.toml"), dedupe())?;
    write_lines(&input, KEYS, |number| number)?;
    let first = arms::run("dedupe", &[&place]);
    println!("{:<58} {:>12.0}", "peak MiB of a dedupe with 10 M keys, at most 500", first.peak_mib);
    println!("{:<58} {:>12.1}", "s for it", first.wall.as_secs_f64());
    append_line(&input)?;
    let second = arms::run("dedupe", &[&place]);
    println!("{:<58} {:>12.0}", "peak MiB of one that takes 10 M keys back, at most 500", second.peak_mib);
    println!("{:<58} {:>12.1}", "s for it", second.wall.as_secs_f64());

    clean(folder.path());
    // Sparse: nobody reads behind the first items.
    std::fs::File::options().write(true).open(&input)?.set_len(LARGE_BYTES)?;
    let mut walls: Vec<f64> =
        (0..9).map(|_| arms::run("preview", &[&place]).wall.as_secs_f64() * 1e3).collect();
    walls.sort_by(f64::total_cmp);
    println!("{:<58} {:>12.1}", "ms of a dry run on 10 GB, whole process, at most 1000", walls[4]);
    Ok(())
}

fn run_arm(arm: &str, folder: &Path) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let file = match arm {
        "replay" => "mended",
        "preview" => "dedupe",
        other => other,
    };
    let environment = |_: &str| None;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let inputs = Inputs::new(&environment).with_cores(cores);
    let spec = PipelineSpec::load(&folder.join(format!("{file}.toml")), &inputs)?;
    let pipeline = assemble(&spec, RunRequest::default());
    match arm {
        "replay" => {
            let report = runtime.block_on(pipeline.replay(Replay::default()))?;
            assert_eq!(report.counts.delivered, LETTERS, "every letter comes through");
        }
        "preview" => {
            let preview = runtime.block_on(pipeline.preview(10))?;
            assert_eq!(preview.items.len(), 10, "ten items are there");
        }
        _ => {
            runtime.block_on(pipeline.run())?;
        }
    }
    Ok(())
}

fn score() -> String {
    format!(
        "{HEAD}[[stage]]\nname = \"score\"\ntype = \"map\"\nkeep = [\"id\", \"project\"]\nset = {{ score = \"item.coverage\" }}\n"
    )
}

fn one_sink() -> String {
    score() + "[sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n"
}

fn four_sinks() -> String {
    let mut file = score()
        + "[[stage]]\nname = \"route\"\ntype = \"route\"\nroutes = { s0 = \"item.score < 0.25\", s1 = \"item.score < 0.5\", \
           s2 = \"item.score < 0.75\" }\notherwise = \"s3\"\n";
    for sink in 0..4 {
        let _ = write!(file, "[[sink]]\nname = \"s{sink}\"\ntype = \"jsonl\"\npath = \"out{sink}.jsonl\"\n");
    }
    file
}

fn failing(when: &str) -> String {
    format!(
        "{HEAD}[[stage]]\nname = \"check\"\ntype = \"assert\"\nwhen = \"{when}\"\non_error = \"dead-letter\"\n\
         [sink]\ntype = \"sqlite\"\npath = \"out.db\"\ntable = \"items\"\ncolumns = [\"k\", \"n\"]\n"
    )
}

fn dedupe() -> String {
    format!(
        "{HEAD}[[stage]]\nname = \"once\"\ntype = \"dedupe\"\nkey = \"item.k\"\nhorizon_items = {KEYS}\n\
         [sink]\ntype = \"jsonl\"\npath = \"out.jsonl\"\n"
    )
}

fn write_lines(path: &Path, count: u64, key: impl Fn(u64) -> u64) -> std::io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for number in 0..count {
        writeln!(file, "{{\"k\":{},\"n\":{number}}}", key(number))?;
    }
    file.flush()
}

fn append_line(path: &Path) -> std::io::Result<()> {
    writeln!(std::fs::File::options().append(true).open(path)?, "{{\"k\":5,\"n\":0}}")
}

fn clean(folder: &Path) {
    for name in [
        "out.jsonl",
        "out0.jsonl",
        "out1.jsonl",
        "out2.jsonl",
        "out3.jsonl",
        "out.db",
        "out.db-wal",
        "out.db-shm",
    ] {
        // What is not there need not go.
        let _ = std::fs::remove_file(folder.join(name));
    }
    let _ = std::fs::remove_dir_all(folder.join("data"));
}
