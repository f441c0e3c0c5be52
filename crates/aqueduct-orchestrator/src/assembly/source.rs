//! The source of a pipeline.

use std::sync::Arc;

use aqueduct_stream::{Csv, Generator, Jsonl, Lines, Pipeline, Stdin, StdinFormat};

use crate::connectors::backend::Backend;
use crate::connectors::http::source::HttpSource;
use crate::connectors::queue::Stores;
use crate::connectors::queue::source::QueueSource;
use crate::redacted::Redacted;
use crate::spec::{HttpSourceSpec, PipelineSpec, QueueSourceSpec, SourceKind, StdinSpec};

/// Puts the options of files on a source of files.
macro_rules! files {
    ($source:ident, $spec:expr, $files:expr) => {
        $source::new($spec.path(&$files.path))
            .named($files.path.expose())
            .with_line_bytes_max($files.line_bytes_max)
            .with_expanded_bytes_max($files.expanded_bytes_max)
            .with_expanded_ratio_max($files.expanded_ratio_max)
    };
}

pub(super) fn add(
    pipeline: Pipeline,
    spec: &PipelineSpec,
    backends: &[Arc<Backend>],
    stores: &Arc<Stores>,
) -> Pipeline {
    match &spec.source.kind {
        SourceKind::Jsonl { files } => pipeline.source(files!(Jsonl, spec, files)),
        SourceKind::Csv { files, format } => {
            pipeline.source(files!(Csv, spec, files).with_format(format.format(Redacted::expose)))
        }
        SourceKind::Lines { files, field } => {
            pipeline.source(files!(Lines, spec, files).with_field(field.as_str()))
        }
        SourceKind::Stdin { format, line_bytes_max } => {
            let format = match format {
                StdinSpec::Jsonl => StdinFormat::Jsonl,
                StdinSpec::Csv(csv) => StdinFormat::Csv(csv.format(Redacted::expose)),
                StdinSpec::Lines { field } => StdinFormat::Lines { field: field.clone() },
            };
            pipeline.source(Stdin::new(format).with_line_bytes_max(*line_bytes_max))
        }
        SourceKind::Generator { count, seed, rate, fields } => {
            let mut generator = Generator::new(fields.iter().cloned())
                .expect("names are keys of a table, so each is there once, and an empty one is refused")
                .with_seed(*seed);
            if let Some(count) = count {
                generator = generator.with_count(*count);
            }
            if let Some(rate) = rate {
                generator =
                    generator.with_rate(*rate).expect("the range of the key is within that of the rate");
            }
            pipeline.source(generator)
        }
        SourceKind::Http(http) => {
            let backend = Arc::clone(&backends[http.backend]);
            pipeline.source(HttpSource::new(HttpSourceSpec::clone(http), backend))
        }
        SourceKind::Queue(queue) => {
            let path = spec.path(&queue.path);
            pipeline.source(QueueSource::new(QueueSourceSpec::clone(queue), path, Arc::clone(stores)))
        }
    }
}
