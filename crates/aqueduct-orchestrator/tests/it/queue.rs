//! What a pipeline over queues counts.

use std::path::Path;

use aqueduct_metrics::Registry;
use aqueduct_orchestrator::{Inputs, PipelineSpec, RunRequest, assemble};

/// Runs a file in a folder and gives what it counted.
async fn run(folder: &Path, file: &str) -> String {
    let environment = |_: &str| None;
    let spec = PipelineSpec::parse("p.toml", folder, file.as_bytes(), &Inputs::new(&environment));
    let metrics = Registry::default();
    let request = RunRequest { metrics: metrics.clone(), ..RunRequest::default() };
    assemble(&spec.unwrap_or_else(|errors| panic!("{errors}")), request).run().await.unwrap();
    metrics.snapshot().to_text()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_into_a_queue_and_comes_out_of_it_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let fills = "name = \"fills\"\nsink = { type = \"queue\", path = \"work\", queue = \"jobs\" }\n\
                 [source]\ntype = \"generator\"\ncount = 30\nfields = { id = \"sequence\" }\n";
    let text = run(folder.path(), fills).await;
    let published = "aqueduct_queue_published_total{queue=\"jobs\"} 30\n";
    assert!(text.contains(published), "{text}");

    let works = "name = \"works\"\nsink = { type = \"jsonl\", path = \"out.jsonl\" }\n\
                 source = { type = \"queue\", path = \"work\", queue = \"jobs\", until = \"empty\" }\n";
    let text = run(folder.path(), works).await;
    for line in [
        "aqueduct_queue_delivered_total{queue=\"jobs\",group=\"default\"} 30\n",
        "aqueduct_queue_wait_seconds_count{queue=\"jobs\",group=\"default\"} 30\n",
        "aqueduct_queue_settled_total{queue=\"jobs\",group=\"default\",outcome=\"acknowledged\"} 30\n",
        "aqueduct_queue_messages{queue=\"jobs\",group=\"default\",state=\"ready\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
