//! One process: its pipes, and how it ends.

use std::collections::VecDeque;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_core::Clock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::{Settings, StderrLines};

/// How much of standard error is kept for messages: a Python traceback fits.
const STDERR_BYTES_MAX: usize = 4096;

/// How many of its last lines a message shows.
const STDERR_LINES_MAX: usize = 3;

/// How long a process that closed its output may take to end, and its standard error to be read.
const END_WAIT: Duration = Duration::from_secs(1);

/// What a process did.
pub(super) enum Event {
    /// It took bytes, or refuses to take any more.
    Took,
    Line(Vec<u8>),
    /// A line is longer than allowed.
    TooLong,
    /// It closed its output: it ended, or is about to.
    Ended,
}

/// A process that runs.
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    unwritten: VecDeque<u8>,
    lines: Lines,
    stderr: Tail,
}

impl Process {
    pub(super) fn start(settings: &Settings) -> io::Result<Self> {
        let mut command = Command::new(settings.path());
        command
            .args(&settings.arguments)
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(folder) = &settings.folder
            && !folder.as_os_str().is_empty()
        {
            command.current_dir(folder);
        }
        // Ctrl-C in a terminal goes to a whole group; the run decides by itself when its programs end.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let pipe = || io::Error::other("a pipe of the process is missing");
        let input = child.stdin.take().ok_or_else(pipe)?;
        let output = child.stdout.take().ok_or_else(pipe)?;
        let stderr = child.stderr.take().ok_or_else(pipe)?;
        Ok(Self {
            child,
            input: Some(input),
            unwritten: VecDeque::new(),
            lines: Lines::new(output, settings.answer_bytes_max),
            stderr: Tail::of(stderr, settings.stderr_lines.clone()),
        })
    }

    /// Queues a line for its standard input.
    pub(super) fn write(&mut self, line: &[u8]) {
        if self.input.is_some() {
            self.unwritten.extend(line);
        }
    }

    /// Waits for the next thing that happens, and writes what is queued meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: what was written or read is noted before the future can be dropped.
    pub(super) async fn event(&mut self) -> io::Result<Event> {
        let Self { input, unwritten, lines, .. } = self;
        match input {
            Some(pipe) if !unwritten.is_empty() => {
                tokio::select! {
                    event = lines.next() => event,
                    written = pipe.write(unwritten.as_slices().0) => {
                        match written {
                            Ok(bytes) if bytes > 0 => drop(unwritten.drain(..bytes)),
                            // It does not read any more. Whether it still answers is seen at its output.
                            _ => {
                                *input = None;
                                unwritten.clear();
                            }
                        }
                        Ok(Event::Took)
                    }
                }
            }
            _ => lines.next().await,
        }
    }

    /// Closes its standard input and lets it end by itself within `grace`; then it is killed.
    pub(super) async fn finish(mut self, clock: &Clock, grace: Duration) {
        self.input = None;
        let _busy = clock.busy();
        let ended = async {
            // What it still says must not keep it from ending.
            while !matches!(self.lines.next().await, Ok(Event::Ended) | Err(_)) {}
            let _ = self.child.wait().await;
        };
        tokio::select! {
            () = ended => {}
            () = clock.sleep(grace) => drop(self.kill().await),
        }
        self.stderr.end(clock).await;
    }

    /// Waits for the end of a process that closed its output, and kills it when that takes long. Gives the exit
    /// status and the last lines of standard error.
    pub(super) async fn end(mut self, clock: &Clock) -> (Option<ExitStatus>, String) {
        self.input = None;
        let _busy = clock.busy();
        let mut status = tokio::select! {
            status = self.child.wait() => status.ok(),
            () = clock.sleep(END_WAIT) => None,
        };
        if status.is_none() {
            status = self.kill().await;
        }
        (status, self.stderr.last_lines(clock).await)
    }

    /// Kills it now. Gives the last lines of standard error.
    pub(super) async fn kill_now(mut self, clock: &Clock) -> String {
        self.kill().await;
        self.stderr.last_lines(clock).await
    }

    async fn kill(&mut self) -> Option<ExitStatus> {
        self.kill_group();
        let _ = self.child.start_kill();
        self.child.wait().await.ok()
    }

    /// Kills what it has started as well, where the system has a word for that.
    fn kill_group(&self) {
        // The id is there until the process was waited for, so it cannot be somebody else's yet.
        #[cfg(unix)]
        if let Some(group) =
            self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Lines of its standard output, with a bound.
struct Lines {
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
    bytes_max: usize,
}

impl Lines {
    fn new(output: ChildStdout, bytes_max: usize) -> Self {
        Self { output: BufReader::with_capacity(64 * 1024, output), line: Vec::new(), bytes_max }
    }

    async fn next(&mut self) -> io::Result<Event> {
        loop {
            let chunk = self.output.fill_buf().await?;
            if chunk.is_empty() {
                // A last line without its end is a line.
                return Ok(match self.line.is_empty() {
                    true => Event::Ended,
                    false => Event::Line(std::mem::take(&mut self.line)),
                });
            }
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.unwrap_or(chunk.len());
            if self.line.len() + taken > self.bytes_max {
                return Ok(Event::TooLong);
            }
            self.line.extend_from_slice(&chunk[..taken]);
            self.output.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Event::Line(std::mem::take(&mut self.line)));
            }
        }
    }
}

/// The end of its standard error, which is read all the time so that the process never waits for it.
struct Tail {
    /// Held while bytes are moved only.
    bytes: Arc<Mutex<VecDeque<u8>>>,
    reading: JoinHandle<()>,
}

impl Tail {
    fn of(mut stderr: ChildStderr, lines: Option<StderrLines>) -> Self {
        let bytes = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&bytes);
        let reading = tokio::spawn(async move {
            let mut chunk = [0_u8; STDERR_BYTES_MAX];
            let mut line = Vec::new();
            while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
                if let Some(lines) = &lines {
                    pass_on(&chunk[..read], &mut line, lines);
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(&chunk[..read]);
                let over = kept.len().saturating_sub(STDERR_BYTES_MAX);
                kept.drain(..over);
            }
            if let Some(lines) = lines.filter(|_| !line.is_empty()) {
                lines.take(&plain(&line));
            }
        });
        Self { bytes, reading }
    }

    /// Reads on to the end, once the process has ended.
    async fn end(&mut self, clock: &Clock) {
        let _busy = clock.busy();
        // Something that the process started may hold the pipe open.
        tokio::select! {
            _ = &mut self.reading => {}
            () = clock.sleep(END_WAIT) => {}
        }
    }

    /// The last lines in one, once the process has ended.
    async fn last_lines(&mut self, clock: &Clock) -> String {
        self.end(clock).await;
        let mut kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<String> = kept.make_contiguous().split(|byte| *byte == b'\n').map(plain).collect();
        let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(STDERR_LINES_MAX)..].join(" | ")
    }
}

/// Gives on what ends in `chunk`, and keeps the rest in `line`.
fn pass_on(chunk: &[u8], line: &mut Vec<u8>, lines: &StderrLines) {
    for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
        let ended = piece.ends_with(b"\n");
        line.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
        if ended || line.len() >= STDERR_BYTES_MAX {
            lines.take(&plain(line));
            line.clear();
        }
    }
}

/// A line for people: what a program writes never moves the cursor of a terminal.
fn plain(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let letters = String::from_utf8_lossy(line);
    letters
        .chars()
        .map(|letter| if letter.is_control() && letter != '\t' { '\u{fffd}' } else { letter })
        .collect()
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
