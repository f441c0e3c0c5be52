//! The pipeline file: what was written, then what it means.
//!
//! The file is TOML. It is parsed into a tree that knows the place of each part; flags are laid over the tree;
//! then each section is read by the table of keys in `keys.rs`, which also makes the reference. Reading goes on
//! after an error, so that all of them are reported at once. References such as `${env:X}` are resolved last, on
//! single values, and never shown resolved.

mod backends;
mod batch;
mod cache;
mod calls;
mod diagnostics;
pub(crate) mod keys;
mod overrides;
mod pipeline;
mod queues;
mod reader;
mod references;
mod retention;
mod sections;
mod sinks;
mod sources;
mod stages;
mod stand_in;
mod tree;
mod ways;

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use toml::de::DeTable;

use self::diagnostics::Diagnostics;
use self::references::Resolver;
use self::tree::At;
use crate::error::{ConfigError, ConfigErrors, Place};
use crate::spec::PipelineSpec;

pub use self::overrides::Override;

/// Most bytes of a pipeline file. A file of a thousand stages is a tenth of it.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of a file that a reference such as `${file:X}` names. Keys and certificates are smaller.
const REFERENCED_BYTES_MAX: u64 = 64 * 1024;

/// The name of a single sink without one.
const SINK_NAME_DEFAULT: &str = "results";

/// What a pipeline file is read with: everything from outside that it can depend on.
pub struct Inputs<'a> {
    overrides: &'a [Override],
    environment: &'a dyn Fn(&str) -> Option<String>,
    cores: usize,
}

impl<'a> Inputs<'a> {
    /// Reads the environment through `environment`, which answers what a variable holds.
    #[must_use]
    pub fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { overrides: &[], environment, cores: 1 }
    }

    /// Lays values from the command line over the file.
    #[must_use]
    pub fn with_overrides(mut self, overrides: &'a [Override]) -> Self {
        self.overrides = overrides;
        self
    }

    /// Says how many cores the machine has, which the default number of workers follows. Default 1.
    #[must_use]
    pub fn with_cores(mut self, cores: usize) -> Self {
        self.cores = cores;
        self
    }
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inputs")
            .field("overrides", &self.overrides)
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

impl PipelineSpec {
    /// Reads and checks the pipeline file at `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] has everything that is wrong: with the file itself, its keys and values, the flags, and
    /// the environment.
    pub fn load(path: &Path, inputs: &Inputs<'_>) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        match read_file(path) {
            Ok(bytes) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                Self::parse(&file, folder, &bytes, inputs)
            }
            Err((message, hint)) => {
                Err(ConfigErrors::new(vec![ConfigError::new(Place::File { file }, message, hint)]))
            }
        }
    }

    /// Checks the text of a pipeline file. `file` names it in errors; relative paths start at `folder`.
    ///
    /// # Errors
    ///
    /// As [`PipelineSpec::load`].
    ///
    /// # Complexity
    ///
    /// Linear in the length of the text, times the number of errors.
    pub fn parse(file: &str, folder: &Path, bytes: &[u8], inputs: &Inputs<'_>) -> Result<Self, ConfigErrors> {
        let flags: Vec<String> = inputs.overrides.iter().map(|change| change.flag.clone()).collect();
        let text = String::from_utf8_lossy(bytes);
        let mut diagnostics = Diagnostics::new(file, &text, flags);
        if bytes.len() > FILE_BYTES_MAX {
            diagnostics.file_error(format!("the file has more than {FILE_BYTES_MAX} bytes"), None);
            return diagnostics.finish(None);
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            // What stands before the fault is the same in the repaired text.
            let at = error.valid_up_to();
            diagnostics.error(&At::Bytes(at..at + 1), "the file is not UTF-8 here", None);
            return diagnostics.finish(None);
        }
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            let at = At::Bytes(error.span().unwrap_or(0..0));
            diagnostics.error(&at, error.message(), None);
        }
        if diagnostics.has_errors() {
            // Half a tree has errors of its own that nobody made.
            return diagnostics.finish(None);
        }
        let mut root = tree::members(table.get_ref());
        overrides::apply(&mut root, inputs.overrides, &mut diagnostics);
        let read = |path: &Path| read_reference(path);
        let resolver = Resolver { environment: inputs.environment, read_file: &read, folder };
        let spec = pipeline::read(&root, inputs, &resolver, &mut diagnostics);
        diagnostics.finish(spec)
    }
}

/// The bytes of the pipeline file, one more than are allowed at most.
fn read_file(path: &Path) -> Result<Vec<u8>, (String, Option<String>)> {
    let explained = |error: io::Error| {
        if path.is_dir() {
            return (
                "it is a folder, not a pipeline file".to_owned(),
                Some(format!("did you mean {}?", path.join("pipeline.toml").display())),
            );
        }
        match error.kind() {
            io::ErrorKind::NotFound => ("there is no such file".to_owned(), None),
            _ => (format!("it cannot be read: {error}"), None),
        }
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(explained)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(explained)?;
    Ok(bytes)
}

fn read_reference(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(REFERENCED_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > REFERENCED_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {REFERENCED_BYTES_MAX} bytes")));
    }
    Ok(text)
}
