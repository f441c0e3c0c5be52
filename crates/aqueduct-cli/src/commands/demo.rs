mod backend;
pub(super) mod pages;

use std::path::Path;

use super::run;
use crate::exit::Exit;
use crate::flags::{Demo, DemoPart, PipelineFile, Run};
use crate::output;

/// The pipeline of the demonstration, but for the number of its items.
const PIPELINE: &str = include_str!("demo/pipeline.toml");

/// Shows a pipeline at work on a service that misbehaves, or only the service.
pub(super) async fn demo(flags: Demo) -> Exit {
    if let Some(DemoPart::Backend(flags)) = flags.part {
        return backend::backend(flags).await;
    }
    let file = flags.folder.join("pipeline.toml");
    match prepare(&flags.folder, &file, flags.items) {
        Ok(true) => output::message(&format!(
            "the demonstration is in {}; look at its pipeline.toml",
            flags.folder.display()
        )),
        Ok(false) => output::message(&format!("going on with {}", file.display())),
        Err(error) => {
            output::message(&format!("error: {} cannot be written: {error}", flags.folder.display()));
            return Exit::Failed;
        }
    }
    let file = PipelineFile { file, data_dir: None, set: Vec::new() };
    let exit = run::run(Run::of(file, flags.output)).await;
    match exit {
        Exit::Nothing => output::message(&format!("to see it again, remove {}", flags.folder.display())),
        Exit::Early => output::message("start it again, and it goes on"),
        _ => {}
    }
    exit
}

/// Writes the pipeline unless it is there already. Tells whether it did.
fn prepare(folder: &Path, file: &Path, items: u64) -> std::io::Result<bool> {
    if file.exists() {
        return Ok(false);
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(file, PIPELINE.replace("count = 5000", &format!("count = {items}")))?;
    Ok(true)
}
