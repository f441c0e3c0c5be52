use aqueduct_orchestrator::{
    CacheAccount, CacheTotals, DiskAccount, Invalidation, PipelineSpec, cache_namespaces, invalidate_cache,
    reset_cache_statistics,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::load;
use crate::exit::Exit;
use crate::flags::{Cache as Flags, Format, Invalidate, Look};
use crate::output;

/// What `cache stats -o json` prints.
#[derive(Serialize)]
struct Shown {
    pipeline: String,
    runs: u64,
    /// All namespaces together, and `layers`.
    #[serde(flatten)]
    total: Map<String, Value>,
    namespaces: Map<String, Value>,
    /// Null where there is none; without figures while a run has it open.
    disk: Option<ShownDisk>,
}

#[derive(Serialize)]
struct ShownDisk {
    in_use: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_max: Option<u64>,
}

#[derive(Serialize)]
struct Invalidated {
    pipeline: String,
    namespaces: Vec<String>,
    levels: Vec<&'static str>,
}

/// Looks after what a pipeline has cached.
pub(super) async fn cache(flags: Flags) -> Exit {
    match flags {
        Flags::Stats(look) => stats(look).await,
        Flags::Reset(look) => reset(&look),
        Flags::Invalidate(flags) => invalidate(flags).await,
    }
}

async fn stats(look: Look) -> Exit {
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let name = spec.name.clone();
    // Opening the cache on disk reads all of it.
    let read = tokio::task::spawn_blocking(move || CacheAccount::read(&spec)).await;
    let account = match read {
        Ok(account) => account,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if account.namespaces.is_empty() {
        return caches_nothing(&name);
    }
    if look.output.output == Format::Text {
        print(&name, &account);
    } else {
        output::data_line(&output::json(look.output.output, &shown(name, &account)));
    }
    Exit::Done
}

fn caches_nothing(pipeline: &str) -> Exit {
    output::message(&format!(
        "pipeline {pipeline} caches nothing: it has neither a stage of type \"cached\" nor a [backend.cache]"
    ));
    Exit::Nothing
}

fn shown(pipeline: String, account: &CacheAccount) -> Shown {
    let in_use = |in_use| ShownDisk { in_use, entries: None, bytes: None, bytes_max: None };
    Shown {
        pipeline,
        runs: account.runs,
        total: account.figures(),
        namespaces: account
            .namespaces
            .iter()
            .map(|one| (one.namespace.clone(), one.totals.figures().into()))
            .collect(),
        disk: match account.disk {
            DiskAccount::Holds { entries, bytes, bytes_max } => Some(ShownDisk {
                entries: Some(entries),
                bytes: Some(bytes),
                bytes_max: Some(bytes_max),
                ..in_use(false)
            }),
            DiskAccount::InUse => Some(in_use(true)),
            _ => None,
        },
    }
}

fn print(pipeline: &str, account: &CacheAccount) {
    let count = output::count;
    output::data_line(&format!(
        "pipeline {pipeline}: {} and {} counted",
        output::plural(account.layers.into(), "layer"),
        output::plural(account.runs, "run"),
    ));
    let line = |name: &str, totals: &CacheTotals| {
        output::data_line(&format!(
            "{name}: hits {} of {} ({:.2} %), misses {}, sets {}, deletes {}",
            count(totals.hits),
            count(totals.total_requests()),
            totals.hit_rate_percent(),
            count(totals.misses),
            count(totals.sets),
            count(totals.deletes),
        ));
        let rest: Vec<String> = [
            ("in memory", totals.memory_hits),
            ("on disk", totals.disk_hits),
            ("shared", totals.shared_hits),
            ("waited for the result of another", totals.joined),
            ("failures", totals.failures),
            ("answered by an old result", totals.stale),
        ]
        .iter()
        .filter(|(_, number)| *number > 0)
        .map(|(what, number)| format!("{what} {}", count(*number)))
        .collect();
        if !rest.is_empty() {
            output::data_line(&format!("  {}", rest.join(", ")));
        }
    };
    if account.namespaces.len() > 1 {
        line("all", &account.total);
    }
    for one in &account.namespaces {
        line(&one.namespace, &one.totals);
    }
    match account.disk {
        DiskAccount::Holds { entries, bytes, bytes_max } => output::data_line(&format!(
            "disk: {}, {} of at most {} bytes",
            output::plural(entries as u64, "entry").replace("entrys", "entries"),
            count(bytes),
            count(bytes_max),
        )),
        DiskAccount::InUse => output::data_line("disk: in use by a run; its end shows what it holds"),
        _ => output::data_line("disk: nothing"),
    }
}

fn reset(look: &Look) -> Exit {
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    match reset_cache_statistics(&spec) {
        Ok(true) => {
            output::message(&format!(
                "pipeline {}: what was counted is at nought; what is cached stays",
                spec.name
            ));
            Exit::Done
        }
        Ok(false) => {
            output::message(&format!("pipeline {}: nothing was counted yet", spec.name));
            Exit::Nothing
        }
        Err(error) => {
            output::error(&error);
            Exit::Failed
        }
    }
}

async fn invalidate(flags: Invalidate) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    if cache_namespaces(&spec).is_empty() {
        return caches_nothing(&spec.name);
    }
    let what = match (flags.what.tag, flags.what.pattern) {
        (Some(tag), _) => Invalidation::Tag(tag),
        (None, Some(pattern)) => Invalidation::Pattern(pattern),
        (None, None) => Invalidation::All,
    };
    let (namespaces, levels) = match invalidate_cache(&spec, flags.namespace.as_deref(), &what).await {
        Ok(done) => done,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if flags.output.output == Format::Text {
        told(&spec, &namespaces, &levels);
    } else {
        let invalidated = Invalidated { pipeline: spec.name.clone(), namespaces, levels: levels.clone() };
        output::data_line(&output::json(flags.output.output, &invalidated));
    }
    if levels.is_empty() { Exit::Nothing } else { Exit::Done }
}

fn told(spec: &PipelineSpec, namespaces: &[String], levels: &[&str]) {
    let name = &spec.name;
    if levels.is_empty() {
        output::message(&format!("pipeline {name}: nothing is kept that outlives a run"));
        return;
    }
    output::data_line(&format!("invalidated {} on {}", namespaces.join(", "), levels.join(", ")));
}
