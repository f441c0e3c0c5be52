use aqueduct_orchestrator::{InspectedStore, PipelineSpec, Severity, Verification, inspect_stores, verify};
use aqueduct_store::{PipelineFacts, TableFacts};
use serde::Serialize;

use super::load;
use crate::exit::Exit;
use crate::flags::{Format, Look, Store};
use crate::output;

#[derive(Serialize)]
struct Verified {
    pipeline: String,
    ok: bool,
    looked_at: Vec<String>,
    findings: Vec<VerifiedFinding>,
}

#[derive(Serialize)]
struct VerifiedFinding {
    severity: &'static str,
    subject: String,
    problem: String,
    remedy: String,
}

#[derive(Serialize)]
struct Inspected {
    path: String,
    bytes: u64,
    log_bytes: u64,
    format: Option<u32>,
    application_id: String,
    page_bytes: u64,
    pages: u64,
    pages_free: u64,
    pipelines: Vec<InspectedPipeline>,
    tables: Vec<InspectedTable>,
}

#[derive(Serialize)]
struct InspectedPipeline {
    name: String,
    epoch: u64,
    last_seen: String,
    partitions: u64,
    files: u64,
    checkpoints: u64,
    dead_letters: u64,
    dead_letter_bytes: u64,
    state_keys: u64,
    state_bytes: u64,
    journal_entries: u64,
    journal_bytes: u64,
}

#[derive(Serialize)]
struct InspectedTable {
    name: String,
    rows: u64,
    bytes: Option<u64>,
}

/// Looks at what a pipeline has stored.
pub(super) async fn store(store: Store) -> Exit {
    let (look, verifies) = match store {
        Store::Verify(look) => (look, true),
        Store::Inspect(look) => (look, false),
    };
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    if verifies { verify_all(&spec, &look).await } else { inspect(&spec, &look).await }
}

async fn verify_all(spec: &PipelineSpec, look: &Look) -> Exit {
    let found = match verify(spec).await {
        Ok(Some(found)) => found,
        Ok(None) => return never_ran(spec),
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    let damaged = found.is_damaged();
    if look.output.output == Format::Text {
        print_verified(spec, look, &found);
    } else {
        output::data_line(&output::json(look.output.output, &verified(spec, found)));
    }
    if damaged { Exit::Failed } else { Exit::Done }
}

fn never_ran(spec: &PipelineSpec) -> Exit {
    output::message(&format!("pipeline {} has not run here yet", spec.name));
    Exit::Nothing
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Damage => "damage",
        Severity::Note => "note",
    }
}

fn verified(spec: &PipelineSpec, found: Verification) -> Verified {
    Verified {
        pipeline: spec.name.clone(),
        ok: !found.is_damaged(),
        looked_at: found.looked_at,
        findings: found
            .findings
            .into_iter()
            .map(|finding| VerifiedFinding {
                severity: severity(finding.severity),
                subject: finding.subject,
                problem: finding.problem,
                remedy: finding.remedy,
            })
            .collect(),
    }
}

fn print_verified(spec: &PipelineSpec, look: &Look, found: &Verification) {
    if look.output.verbose {
        found.looked_at.iter().for_each(|what| output::data_line(&format!("looked at {what}")));
    }
    for finding in &found.findings {
        let severity = severity(finding.severity);
        output::data_line(&format!("{severity}: {}: {}", finding.subject, finding.problem));
        output::data_line(&format!("  {}", finding.remedy));
    }
    let damage = found.findings.iter().filter(|finding| finding.severity == Severity::Damage).count();
    let looked = output::plural(found.looked_at.len() as u64, "thing");
    let verdict = match damage {
        0 => "ok".to_owned(),
        damage => format!("{} damaged", output::count(damage as u64)),
    };
    output::data_line(&format!("{}: {verdict} ({looked} looked at)", spec.name));
}

async fn inspect(spec: &PipelineSpec, look: &Look) -> Exit {
    let stores = match inspect_stores(spec).await {
        Ok(stores) => stores,
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if stores.is_empty() {
        return never_ran(spec);
    }
    let inspected: Vec<Inspected> = stores.into_iter().map(inspected).collect();
    match look.output.output {
        Format::Json => output::data_line(&output::json(Format::Json, &inspected)),
        Format::Jsonl => {
            inspected.iter().for_each(|store| output::data_line(&output::json(Format::Jsonl, store)));
        }
        Format::Text => inspected.iter().for_each(print_inspected),
    }
    Exit::Done
}

fn inspected(store: InspectedStore) -> Inspected {
    let InspectedStore { path, bytes, log_bytes, facts } = store;
    let letters: String = facts.application_id.to_be_bytes().iter().map(|byte| char::from(*byte)).collect();
    let is_text = letters.chars().all(|letter| letter.is_ascii_graphic());
    Inspected {
        path: path.display().to_string(),
        bytes,
        log_bytes,
        format: facts.format,
        application_id: if is_text { letters } else { facts.application_id.to_string() },
        page_bytes: facts.page_bytes,
        pages: facts.pages,
        pages_free: facts.pages_free,
        pipelines: facts.pipelines.into_iter().map(pipeline).collect(),
        tables: facts
            .tables
            .into_iter()
            .map(|TableFacts { name, rows, bytes }| InspectedTable { name, rows, bytes })
            .collect(),
    }
}

fn pipeline(facts: PipelineFacts) -> InspectedPipeline {
    InspectedPipeline {
        name: facts.name,
        epoch: facts.epoch,
        last_seen: facts.last_seen.to_string(),
        partitions: facts.partitions,
        files: facts.files,
        checkpoints: facts.checkpoints,
        dead_letters: facts.dead_letters,
        dead_letter_bytes: facts.dead_letter_bytes,
        state_keys: facts.state_keys,
        state_bytes: facts.state_bytes,
        journal_entries: facts.journal_entries,
        journal_bytes: facts.journal_bytes,
    }
}

fn print_inspected(store: &Inspected) {
    let (count, plural) = (output::count, output::plural);
    output::data_line(&format!(
        "{}: {}, {} of them in the log",
        store.path,
        plural(store.bytes, "byte"),
        count(store.log_bytes)
    ));
    let format = store.format.map_or("no ledger".to_owned(), |format| format!("ledger of format {format}"));
    output::data_line(&format!(
        "  {format}, application id {}, {} of {} bytes, {} free",
        store.application_id,
        plural(store.pages, "page"),
        count(store.page_bytes),
        count(store.pages_free)
    ));
    for pipeline in &store.pipelines {
        output::data_line(&format!(
            "  pipeline {}: commit {}, last seen {}, {}, {}, {}",
            pipeline.name,
            count(pipeline.epoch),
            pipeline.last_seen,
            plural(pipeline.partitions, "partition"),
            plural(pipeline.files, "file"),
            plural(pipeline.checkpoints, "checkpoint")
        ));
        output::data_line(&format!(
            "    {} of {}, state of {} and {}, journal of {} and {}",
            plural(pipeline.dead_letters, "dead letter"),
            plural(pipeline.dead_letter_bytes, "byte"),
            plural(pipeline.state_keys, "key"),
            plural(pipeline.state_bytes, "byte"),
            plural(pipeline.journal_entries, "call"),
            plural(pipeline.journal_bytes, "byte")
        ));
    }
    for table in &store.tables {
        let bytes = table.bytes.map_or(String::new(), |bytes| format!(", {}", plural(bytes, "byte")));
        output::data_line(&format!("  table {}: {}{bytes}", table.name, plural(table.rows, "row")));
    }
}
