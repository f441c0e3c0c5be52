//! What a shell and `man` are given: both from the flags themselves.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::flags::Flags;
use crate::output;

/// Prints completions for a shell.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Flags::command(), "aqueduct", &mut script);
    output::data(&String::from_utf8_lossy(&script));
    Exit::Done
}

/// Writes one manual page for each command into a folder, or prints the first of them.
pub(super) fn man(folder: Option<&Path>) -> Exit {
    let written = match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Flags::command(), folder))
        }
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Flags::command()).render(&mut page);
            rendered.map(|()| output::data(&String::from_utf8_lossy(&page)))
        }
    };
    match (written, folder) {
        (Ok(()), Some(folder)) => {
            output::message(&format!(
                "wrote the pages; read one with: man {}",
                folder.join("aqueduct.1").display()
            ));
            Exit::Done
        }
        (Ok(()), None) => Exit::Done,
        (Err(error), folder) => {
            let folder = folder.unwrap_or(Path::new("")).display();
            output::message(&format!("error: the manual pages cannot be written to {folder}: {error}"));
            Exit::Failed
        }
    }
}
