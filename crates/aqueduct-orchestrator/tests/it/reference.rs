use aqueduct_orchestrator::reference::config_markdown;

#[test]
fn the_reference_has_every_key_and_every_variable() {
    let text = config_markdown();
    for expected in [
        "## The file",
        "## `[source]` with `type = \"jsonl\"`",
        "## `[[stage]]` with `type = \"alert\"`",
        "## `[stage.retry]`",
        "## `[[sink]]` with `type = \"sqlite\"`",
        "## `[run]`",
        "## Environment",
        "| `on_error` | `stop`, `skip`, `retry`, `dead-letter` | `stop` |",
        "| `line_bytes_max` | integer, 1 to 1073741824 | 1048576 |",
        "| `allowed_dead_letter_ratio` | number, 0 to 1 | 0 |",
        "| `REDIS_URL` | address, `redis://`, `rediss://`, `unix://` |",
        "| `AQUEDUCT_BATCH_SIZE` | integer, 1 to 1000000 | 100 | `run.batch_size` |",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    for line in text.lines().filter(|line| line.starts_with('|')) {
        assert!(line.ends_with('|'), "{line}");
    }
}
