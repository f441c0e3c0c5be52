//! Each command with its output.
//!
//! An example is a transcript: `$ ` begins a command that is shown, `>> ` one that only prepares the next, everything
//! else is what came out. It starts in an empty folder. A test runs every one and compares, times masked; with
//! `AQUEDUCT_BLESS=1` it writes what came out into the file instead.

/// The commands and their examples. A test says which command has none.
const EXAMPLES: &[(&str, &str)] = &[
    ("aqueduct init", include_str!("examples/init.txt")),
    ("aqueduct run", include_str!("examples/run.txt")),
    ("aqueduct check", include_str!("examples/check.txt")),
    ("aqueduct test", include_str!("examples/test.txt")),
    ("aqueduct explain", include_str!("examples/explain.txt")),
    ("aqueduct status", include_str!("examples/status.txt")),
    ("aqueduct dlq ls", include_str!("examples/dlq-ls.txt")),
    ("aqueduct dlq show", include_str!("examples/dlq-show.txt")),
    ("aqueduct dlq export", include_str!("examples/dlq-export.txt")),
    ("aqueduct dlq edit", include_str!("examples/dlq-edit.txt")),
    ("aqueduct dlq replay", include_str!("examples/dlq-replay.txt")),
    ("aqueduct dlq purge", include_str!("examples/dlq-purge.txt")),
    ("aqueduct checkpoint ls", include_str!("examples/checkpoint-ls.txt")),
    ("aqueduct checkpoint show", include_str!("examples/checkpoint-show.txt")),
    ("aqueduct batch status", include_str!("examples/batch-status.txt")),
    ("aqueduct cache stats", include_str!("examples/cache-stats.txt")),
    ("aqueduct cache reset", include_str!("examples/cache-reset.txt")),
    ("aqueduct cache invalidate", include_str!("examples/cache-invalidate.txt")),
    ("aqueduct queue ls", include_str!("examples/queue-ls.txt")),
    ("aqueduct queue peek", include_str!("examples/queue-peek.txt")),
    ("aqueduct queue publish", include_str!("examples/queue-publish.txt")),
    ("aqueduct queue redrive", include_str!("examples/queue-redrive.txt")),
    ("aqueduct queue purge", include_str!("examples/queue-purge.txt")),
    ("aqueduct queue pause", include_str!("examples/queue-pause.txt")),
    ("aqueduct queue resume", include_str!("examples/queue-resume.txt")),
    ("aqueduct queue verify", include_str!("examples/queue-verify.txt")),
    ("aqueduct queue repair", include_str!("examples/queue-repair.txt")),
    ("aqueduct clean", include_str!("examples/clean.txt")),
    ("aqueduct store verify", include_str!("examples/store-verify.txt")),
    ("aqueduct store inspect", include_str!("examples/store-inspect.txt")),
    ("aqueduct demo backend", include_str!("examples/demo-backend.txt")),
    ("aqueduct schema", include_str!("examples/schema.txt")),
    ("aqueduct completions", include_str!("examples/completions.txt")),
    ("aqueduct man", include_str!("examples/man.txt")),
];

/// The example of a command, as a reader sees it.
pub(super) fn of(path: &str) -> Option<String> {
    let (_, transcript) = EXAMPLES.iter().find(|(command, _)| *command == path)?;
    let shown: Vec<&str> = transcript.lines().filter(|line| !line.starts_with(">> ")).collect();
    Some(shown.join("\n"))
}
