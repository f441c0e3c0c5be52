use std::path::PathBuf;
use std::sync::Arc;

use aqueduct_core::Item;
use aqueduct_store::FileMark;

use super::parts::Parts;
use super::{Encode, Encoded, Opening, Sink};
use crate::error::{SinkError, StageError};
use crate::guarantee::Guarantee;
use crate::source::Framing;

/// Writes results as JSON lines: into one file when the path ends in `.jsonl`, else into a folder of parts.
///
/// The ledger knows the committed length of each file. What is beyond it is cut off at the next start; a file
/// that the ledger does not know is refused. A folder has a `manifest.json` that lists its parts and their
/// committed lengths; it is derived from the ledger and rebuilt at each start.
#[derive(Debug)]
pub struct JsonlSink(Parts);

impl JsonlSink {
    /// Writes to `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(Parts::new(path.into(), "jsonl", Framing::Lines))
    }

    /// Sets how large a part grows before the next one is begun; for folders only. Default 256 MiB.
    #[must_use]
    pub fn with_part_bytes(mut self, bytes: u64) -> Self {
        self.0.set_part_bytes(bytes);
        self
    }
}

impl Sink for JsonlSink {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn guarantee(&self) -> (Guarantee, String) {
        self.0.guarantee()
    }

    fn writes(&self) -> Option<PathBuf> {
        Some(self.0.first_path())
    }

    fn encoder(&self) -> Arc<dyn Encode> {
        Arc::new(JsonlEncoder)
    }

    fn connect(&self, opening: &Opening<'_>) -> Result<(), SinkError> {
        self.0.connect(opening)
    }

    fn reserve(&mut self, sink: &str) -> Result<(), SinkError> {
        self.0.reserve(sink)
    }

    fn open(&mut self, opening: &Opening<'_>) -> Result<Vec<FileMark>, SinkError> {
        self.0.open(opening)
    }

    fn append(&mut self, encoded: &[u8], items: u64) -> Result<(), SinkError> {
        self.0.append(&[], encoded, items)
    }

    fn seal(&mut self) -> Result<Vec<FileMark>, SinkError> {
        self.0.seal()
    }

    fn committed(&mut self) -> Result<(), SinkError> {
        self.0.committed()
    }
}

/// Writes items as JSON, one a line.
#[derive(Debug)]
pub(super) struct JsonlEncoder;

impl Encode for JsonlEncoder {
    fn start(&self) -> Encoded {
        Encoded::Bytes { bytes: Vec::new(), items: 0 }
    }

    fn encode(&self, item: &Item, encoded: &mut Encoded) -> Result<(), StageError> {
        let Encoded::Bytes { bytes, items } = encoded else {
            return Err(StageError::new(
                aqueduct_core::ErrorClass::Internal,
                "encoder and results do not match",
            ));
        };
        item.payload.write_json(bytes)?;
        bytes.push(b'\n');
        *items += 1;
        Ok(())
    }
}
