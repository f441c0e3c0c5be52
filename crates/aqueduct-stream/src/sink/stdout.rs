use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_store::FileMark;

use super::jsonl::JsonlEncoder;
use super::{Encode, Opening, Sink};
use crate::error::SinkError;
use crate::guarantee::Guarantee;

/// Writes results to standard output as JSON lines.
///
/// Nobody can take back what went down a pipe, so after a crash the last epoch may come again: at least once.
pub struct StdoutSink {
    name: String,
    out: Box<dyn Write + Send>,
}

impl StdoutSink {
    /// Writes to the standard output of this process.
    #[must_use]
    pub fn new() -> Self {
        Self::to(Box::new(io::stdout()))
    }

    /// Writes elsewhere, with the same promise.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        Self { name: String::new(), out }
    }

    fn io(&self, source: io::Error) -> SinkError {
        SinkError::Io { sink: self.name.clone(), path: PathBuf::from("standard output"), source }
    }
}

impl Default for StdoutSink {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for StdoutSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdoutSink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sink for StdoutSink {
    fn describe(&self) -> String {
        "stdout".to_owned()
    }

    fn guarantee(&self) -> (Guarantee, String) {
        (
            Guarantee::AtLeastOnce,
            "what went to standard output cannot be taken back, so the last epoch may be repeated after a crash"
                .to_owned(),
        )
    }

    fn encoder(&self) -> Arc<dyn Encode> {
        Arc::new(JsonlEncoder)
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError> {
        self.name = opening.sink.to_owned();
        Ok(Vec::new())
    }

    fn append(&mut self, encoded: &[u8], _items: u64) -> Result<(), SinkError> {
        self.out.write_all(encoded).map_err(|error| self.io(error))
    }

    fn seal(&mut self) -> Result<Vec<FileMark>, SinkError> {
        self.out.flush().map_err(|error| self.io(error))?;
        Ok(Vec::new())
    }

    fn committed(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
