use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use aqueduct_core::{PartitionId, Phase, Position};
use tokio::sync::mpsc;

use super::csv::{CsvDecoder, CsvFormat, Rows};
use super::cutter::{Cutter, Cutting, Fed, Feed, LINE_BYTES_MAX};
use super::files::Names;
use super::framing::Framing;
use super::input::io_error;
use super::jsonl::JsonlDecoder;
use super::lines::LinesDecoder;
use super::position::FilePosition;
use super::{Chunk, Decode, Source, SourceContext};
use crate::error::SourceError;
use crate::guarantee::Guarantee;

/// The name of the one partition, and of the input in errors.
const NAME: &str = "stdin";

/// How much is read at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// How many pieces may wait to be cut; with [`READ_BYTES`] a bound of 256 KiB.
const PIECES_MAX: usize = 4;

/// How the bytes of the standard input become items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StdinFormat {
    /// One JSON object a line.
    Jsonl,
    /// Lines of any kind; each becomes a record with this one field.
    Lines {
        /// The field.
        field: String,
    },
    /// Rows of separated fields. Each run begins with a header, if the format has one.
    Csv(CsvFormat),
}

/// Reads the standard input until it ends, or the run is asked to drain.
///
/// What is there is handed out at once: a line does not wait for a full block. A line without its end is an item
/// when the input ends, and waits for its end before.
///
/// A pipe cannot be read twice, so what a run took and did not commit is lost: at most once. Offsets go on from
/// run to run, so that ids of items are unique; lines are counted from 1 in each.
///
/// A thread of its own reads, because a read of a pipe cannot be broken off. When a run drains while nothing
/// comes, that thread is left in its read and ends with the next input or with the process.
pub struct Stdin {
    format: StdinFormat,
    line_bytes_max: usize,
    input: Option<Box<dyn Read + Send>>,
    context: Option<SourceContext>,
    decoder: Arc<dyn Decode>,
    rows: Arc<Rows>,
    cutter: Option<Cutter>,
}

impl Stdin {
    /// Reads the standard input of this process.
    #[must_use]
    pub fn new(format: StdinFormat) -> Self {
        Self::of(format, Box::new(io::stdin()))
    }

    /// Reads something else that cannot be read twice, with the same promise.
    #[must_use]
    pub fn of(format: StdinFormat, input: Box<dyn Read + Send>) -> Self {
        let names = Arc::new(Names::default());
        let mut rows = Arc::default();
        let decoder: Arc<dyn Decode> = match &format {
            StdinFormat::Jsonl => Arc::new(JsonlDecoder { names }),
            StdinFormat::Lines { field } => Arc::new(LinesDecoder { field: field.as_str().into(), names }),
            StdinFormat::Csv(csv) => {
                rows = Arc::new(Rows::new(csv.clone()));
                Arc::new(CsvDecoder { rows: Arc::clone(&rows), names })
            }
        };
        let line_bytes_max = LINE_BYTES_MAX;
        Self { format, line_bytes_max, input: Some(input), context: None, decoder, rows, cutter: None }
    }

    /// Sets the longest line or row that is carried, in bytes; a longer one becomes a dead letter. Default
    /// [`LINE_BYTES_MAX`].
    #[must_use]
    pub fn with_line_bytes_max(mut self, bytes: usize) -> Self {
        self.line_bytes_max = bytes.max(1);
        self
    }
}

impl std::fmt::Debug for Stdin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stdin").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Source for Stdin {
    fn describe(&self) -> String {
        let format = match &self.format {
            StdinFormat::Jsonl => "jsonl",
            StdinFormat::Lines { .. } => "lines",
            StdinFormat::Csv(_) => "csv",
        };
        format!("{NAME}, {format}")
    }

    fn guarantee(&self) -> (Guarantee, String) {
        let reason = "the standard input cannot be read twice, so what was taken and not committed is lost after a crash";
        (Guarantee::AtMostOnce, reason.to_owned())
    }

    fn start(&mut self, context: &SourceContext) {
        self.context = Some(context.clone());
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        if let StdinFormat::Csv(format) = &self.format {
            format.check()?;
        }
        Ok(vec![NAME.to_owned()])
    }

    fn open(
        &mut self,
        _index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        let Some(input) = self.input.take() else { return Ok(()) };
        let offset = position.map(FilePosition::read).transpose()?.map_or(0, |read| read.offset);
        let framing = match &self.format {
            StdinFormat::Csv(format) => format.framing(),
            _ => Framing::Lines,
        };
        let limit = self.line_bytes_max;
        let cutting = Cutting { partition: id, framing, limit, offset, line: 1, drops_mark: true };
        let pipe = Pipe::read(input, self.context.clone())?;
        let cutter = self.cutter.insert(Cutter::new(Box::new(pipe), cutting, Vec::new()));
        if let StdinFormat::Csv(_) = &self.format {
            self.rows.begin(NAME, id, cutter)?;
        }
        Ok(())
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        self.cutter.as_mut().map_or(Ok(None), |cutter| cutter.next(items_max))
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::clone(&self.decoder)
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }
}

/// The near end of the thread that reads.
struct Pipe {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// Who may end a wait; without a run nobody does.
    context: Option<SourceContext>,
}

impl Pipe {
    fn read(mut input: Box<dyn Read + Send>, context: Option<SourceContext>) -> Result<Self, SourceError> {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let read = move || {
            let mut buffer = vec![0; READ_BYTES];
            loop {
                let piece = match input.read(&mut buffer) {
                    Ok(0) => return,
                    // What is in flight holds what was read and no more.
                    Ok(count) => Ok(buffer[..count].to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                if sender.blocking_send(piece).is_err() || failed {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("aqueduct-stdin".to_owned())
            .spawn(read)
            .map_err(|error| io_error(Path::new(NAME), error))?;
        Ok(Self { pieces, context })
    }

    /// The next piece; `None` at the end, and an error of nothing when the run drains.
    fn wait(&mut self) -> Result<Option<io::Result<Vec<u8>>>, Drains> {
        let Some(context) = &self.context else { return Ok(self.pieces.blocking_recv()) };
        let mut shutdown = context.shutdown.clone();
        let pieces = &mut self.pieces;
        context.runtime.block_on(async {
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => Err(Drains),
                piece = pieces.recv() => Ok(piece),
            }
        })
    }
}

/// The run is asked to drain.
struct Drains;

impl Feed for Pipe {
    fn read(&mut self, block: &mut Vec<u8>) -> Result<Fed, SourceError> {
        match self.wait() {
            Err(Drains) => Ok(Fed::Asked),
            Ok(None) => Ok(Fed::End),
            Ok(Some(Err(error))) => Err(io_error(Path::new(NAME), error)),
            Ok(Some(Ok(piece))) => {
                if block.is_empty() {
                    *block = piece;
                } else {
                    block.extend_from_slice(&piece);
                }
                Ok(Fed::Bytes)
            }
        }
    }
}
