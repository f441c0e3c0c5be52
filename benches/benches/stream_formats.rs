//! Question: what does another format cost over JSON lines?
//!
//! Workload: the 1,000,000 evidence items of `stream_throughput` as JSON lines, as csv with three typed columns, as
//! csv with its texts in quotes, and as JSON lines in gzip and zstd; read, scored, filtered and written as JSON
//! lines by a pipeline file, exactly once, whole processes on all cores. Every file holds the same items, and the
//! outputs are compared before anything is printed.
//!
//! A good answer: csv at most 1.5 x the run on JSON lines; the A/A row shows how much of that is noise. A
//! compressed file costs what one core needs to expand it, and no more.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use aqueduct_benches::arms::{self, Arm};
use aqueduct_benches::evidence::{self, Evidence};
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};

const ITEMS: u64 = 1_000_000;
const ROUNDS: usize = 5;

const ARMS: &[Arm] = &[
    Arm { name: "jsonl", label: "jsonl" },
    Arm { name: "jsonl", label: "the same again (A/A control)" },
    Arm { name: "csv", label: "csv, three columns typed" },
    Arm { name: "quoted", label: "csv, texts in quotes, three columns typed" },
    Arm { name: "gzip", label: "jsonl in gzip" },
    Arm { name: "zstd", label: "jsonl in zstd" },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Ok(arm) = std::env::var(arms::ARM) {
        run_arm(&arm, &PathBuf::from(&arguments[0]))?;
        arms::print_peak();
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    write_inputs(folder.path())?;
    let clean = || {
        let _ = std::fs::remove_file(folder.path().join("out.jsonl"));
        let _ = std::fs::remove_dir_all(folder.path().join("data"));
    };
    let place = |_: &Arm| vec![folder.path().display().to_string()];
    check_same(folder.path(), &clean)?;
    arms::print("formats", ARMS, &arms::alternate(ARMS, ROUNDS, place, clean));
    Ok(())
}

/// Runs each arm once and demands the same output of all.
fn check_same(folder: &Path, clean: &dyn Fn()) -> Result<(), Box<dyn std::error::Error>> {
    let mut first = None;
    for arm in ARMS {
        clean();
        let _ = arms::run(arm.name, &[&folder.display().to_string()]);
        let output = std::fs::read(folder.join("out.jsonl"))?;
        if *first.get_or_insert_with(|| output.clone()) != output {
            return Err(format!("{} gives another output than {}", arm.name, ARMS[0].name).into());
        }
    }
    Ok(())
}

fn write_inputs(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    evidence::write_file(&folder.join("in.jsonl"), ITEMS)?;
    let create =
        |name: &str| File::create(folder.join(name)).map(|file| BufWriter::with_capacity(1 << 20, file));
    let (mut csv, mut quoted) = (create("in.csv")?, create("quoted.csv")?);
    let json = std::fs::read(folder.join("in.jsonl"))?;
    let header = "id,project,suite,passed,failed,coverage,duration_ms,commit,author,at\n";
    csv.write_all(header.as_bytes())?;
    quoted.write_all(header.as_bytes())?;
    for line in json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Evidence { id, project, suite, passed, failed, coverage, duration_ms, commit, author, at } =
            serde_json::from_slice(line)?;
        writeln!(
            csv,
            "{id},{project},{suite},{passed},{failed},{coverage},{duration_ms},{commit},{author},{at}"
        )?;
        writeln!(
            quoted,
            "\"{id}\",\"{project}\",\"{suite}\",{passed},{failed},{coverage},{duration_ms},\"{commit}\",\"{author}\",\"{at}\""
        )?;
    }
    csv.flush()?;
    quoted.flush()?;
    let mut gzip = flate2::write::GzEncoder::new(create("in.jsonl.gz")?, flate2::Compression::default());
    gzip.write_all(&json)?;
    gzip.finish()?.flush()?;
    let mut zstd = zstd::stream::write::Encoder::new(create("in.jsonl.zst")?, 3)?;
    zstd.write_all(&json)?;
    zstd.finish()?.flush()?;
    Ok(())
}

fn run_arm(arm: &str, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let csv = |path| {
        format!(
            "type = \"csv\"\npath = \"{path}\"\ntypes = {{ passed = \"integer\", failed = \"integer\", coverage = \"float\" }}"
        )
    };
    let jsonl = |path| format!("type = \"jsonl\"\npath = \"{path}\"");
    let source = match arm {
        "jsonl" => jsonl("in.jsonl"),
        "csv" => csv("in.csv"),
        "quoted" => csv("quoted.csv"),
        "gzip" => jsonl("in.jsonl.gz"),
        "zstd" => jsonl("in.jsonl.zst"),
        other => return Err(format!("no arm {other}").into()),
    };
    let environment = |_: &str| None;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let file = folder.join(format!("{arm}.toml"));
    std::fs::write(&file, PIPELINE.replace("SOURCE", &source))?;
    let spec = PipelineSpec::load(&file, &Inputs::new(&environment).with_cores(cores))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(assemble(&spec, RunRequest::default()).run())?;
    Ok(())
}

const PIPELINE: &str = r#"
name = "bench"
data_dir = "data"

[source]
SOURCE

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
