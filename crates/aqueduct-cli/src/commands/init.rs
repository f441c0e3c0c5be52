use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use aqueduct_orchestrator::schema::json_schema;

use crate::exit::Exit;
use crate::flags::Init;
use crate::output;

/// Where the schema goes, from the folder of the file: it is generated, like everything in there.
const SCHEMA: &str = ".aqueduct/pipeline.schema.json";

/// The starter file. `NAME` becomes the pipeline's name and the stem of the files beside it.
const STARTER: &str = r##"#:schema ./.aqueduct/pipeline.schema.json
# The line above is for editors that know Taplo, such as VS Code with Even Better TOML: they complete keys and mark
# mistakes. `aqueduct schema > .aqueduct/pipeline.schema.json` writes it anew after an update.
#
#     aqueduct check      is this file right?
#     aqueduct run        do it; run it again after a stop, a crash or when the input has grown
#     aqueduct explain    what is guaranteed, and why
#
# All keys: `aqueduct reference config`, or docs/reference/config.md.

# In the ledger, in metrics and in reports.
name = "NAME"

# One JSON object a line. What is not one is set aside (on_error = "dead-letter"): see `aqueduct dlq ls`.
[source]
type = "jsonl"
path = "NAME.jsonl"

# New fields from old ones. Expressions are CEL; `item` is the item as it came in.
[[stage]]
name = "total"
type = "map"
keep = ["id", "customer"]
set = { total = "item.price * item.count" }

# Only these go on; the others count as skipped.
[[stage]]
name = "worthwhile"
type = "filter"
when = "item.total >= 10"

# Rows and position are one transaction: whatever is killed in between, each item is in the table once.
#
#     sqlite3 NAME.db 'select * from orders'
[[sink]]
name = "orders"
type = "sqlite"
path = "NAME.db"
table = "orders"
key = "id"

# To see what happens, send items to the screen as well; then the whole run is at-least-once:
# [[sink]]
# name = "screen"
# type = "stdout"
"##;

/// A little input for it, with something for the filter to leave out.
const INPUT: &str = r#"{"id":"o-1","customer":"ada","price":2.5,"count":4}
{"id":"o-2","customer":"grace","price":19.9,"count":1}
{"id":"o-3","customer":"edsger","price":0.4,"count":3}
{"id":"o-4","customer":"barbara","price":120,"count":2}
{"id":"o-5","customer":"ada","price":7,"count":1}
"#;

/// Writes a starter pipeline.
pub(super) fn init(init: &Init) -> Exit {
    let file = &init.file;
    let folder = file.parent().unwrap_or(Path::new(""));
    let name = name_of(file);
    let input = folder.join(format!("{name}.jsonl"));
    let mut files = vec![(file.clone(), STARTER.replace("NAME", &name))];
    if !init.no_data {
        files.push((input.clone(), INPUT.to_owned()));
    }
    // All or nothing: look first, then write.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        let hint = if *path == input && path != file {
            "keep it as the input with --no-data, or name another FILE"
        } else {
            "name another, such as: aqueduct init orders.toml"
        };
        output::message(&format!("error: {} is there already, and init overwrites nothing", path.display()));
        output::message(&format!("  {hint}"));
        return Exit::Usage;
    }
    let schema = folder.join(SCHEMA);
    let written = write_schema(&schema).map_err(|error| (schema.clone(), error)).and_then(|()| {
        // The pipeline comes last: where it is, everything is.
        files
            .iter()
            .rev()
            .try_for_each(|(path, text)| create(path, text).map_err(|error| (path.clone(), error)))
    });
    if let Err((path, error)) = written {
        output::message(&format!("error: {} cannot be written: {error}", path.display()));
        return Exit::Failed;
    }
    for (path, _) in &files {
        output::message(&format!("wrote {}", path.display()));
    }
    output::message(&format!("next: aqueduct run{}", argument(file)));
    Exit::Done
}

/// The file as an argument, left out where it is the default.
fn argument(file: &Path) -> String {
    if file == Path::new("pipeline.toml") { String::new() } else { format!(" {}", file.display()) }
}

/// A pipeline's name from that of its file.
fn name_of(file: &Path) -> String {
    const LETTERS_MAX: usize = 100;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let name: String =
        stem.chars().map(|letter| if plain(letter) { letter } else { '-' }).take(LETTERS_MAX).collect();
    let name = name.trim_start_matches('.');
    // A pipeline is called after what it does, and so are its files.
    if name.is_empty() || name == "pipeline" { "orders".to_owned() } else { name.to_owned() }
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    make_folder(path)?;
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

fn write_schema(path: &Path) -> io::Result<()> {
    make_folder(path)?;
    std::fs::write(path, json_schema())
}

fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder),
        _ => Ok(()),
    }
}
