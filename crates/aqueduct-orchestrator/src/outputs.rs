//! Where a pipeline's outputs are: its databases, and the files that its ledger has marked.

use std::path::{Path, PathBuf};

use aqueduct_store::FileMark;

use crate::inspect::ledger_path;
use crate::spec::{PipelineSpec, SinkKind};

/// All databases of a pipeline, the ledger's first. Each once, by whatever name.
pub(crate) fn databases(spec: &PipelineSpec) -> Vec<PathBuf> {
    let mut databases = vec![ledger_path(spec)];
    for sink in &spec.sinks {
        if let SinkKind::Sqlite { path, .. } = &sink.kind {
            let path = spec.path(path);
            if !databases.iter().any(|known| same(known, &path)) {
                databases.push(path);
            }
        }
    }
    databases
}

fn same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Where a marked file is; `None` when the file names no such sink any more, or one that writes no files.
pub(crate) fn part_path(spec: &PipelineSpec, mark: &FileMark) -> Option<PathBuf> {
    let sink = spec.sinks.iter().find(|sink| sink.name == mark.sink)?;
    let (path, folder) = files(spec, &sink.kind)?;
    Some(if folder { path.join(&mark.part) } else { path })
}

/// The folders of parts, each with the name of its sink.
pub(crate) fn folders(spec: &PipelineSpec) -> impl Iterator<Item = (&str, PathBuf)> {
    spec.sinks.iter().filter_map(|sink| {
        let (path, folder) = files(spec, &sink.kind)?;
        folder.then_some((sink.name.as_str(), path))
    })
}

/// Where a sink writes files, and whether that is a folder of parts: it is one file when its path has the ending of
/// its format.
fn files(spec: &PipelineSpec, kind: &SinkKind) -> Option<(PathBuf, bool)> {
    let (path, ending) = match kind {
        SinkKind::Jsonl { path } => (path, "jsonl"),
        SinkKind::Csv { path, .. } => (path, "csv"),
        SinkKind::Sqlite { .. } | SinkKind::Http(_) | SinkKind::Queue(_) | SinkKind::Stdout => return None,
    };
    let path = spec.path(path);
    let folder = path.extension().is_none_or(|extension| extension != ending);
    Some((path, folder))
}

/// How many sinks write files.
pub(crate) fn files_sinks(spec: &PipelineSpec) -> usize {
    spec.sinks.iter().filter(|sink| files(spec, &sink.kind).is_some()).count()
}
