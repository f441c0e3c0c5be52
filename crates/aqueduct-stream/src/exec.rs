//! Items for programs of any language: JSON lines in, JSON lines out.
//!
//! # The protocol
//!
//! The program gets one line for each item and writes one line for each, in any order:
//!
//! ```text
//! {"id":"a0a0d1234","item":{...}}          what it reads
//! {"id":"a0a0d1234","item":{...}}          the item goes on as this
//! {"id":"a0a0d1234","items":[{...},...]}   it becomes these; none at all counts as skipped
//! {"id":"a0a0d1234","skip":"reason"}       it is left out on purpose
//! {"id":"a0a0d1234","error":"text","retry":true}   it failed; with retry it is tried again
//! ```
//!
//! # When the program is at fault
//!
//! * The time of an item runs while it is the oldest that its process has not answered: a program that works on
//!   one item after the other is not blamed for the queue in front of it. When the time is over, the process is
//!   killed, for its answer could come late; that item fails with a passing error, and what else was in flight
//!   is given to the next process and counts no attempt.
//! * A process that ends, or breaks the protocol (what it writes is not an answer, answers an item that it was
//!   not given, answers one twice, exceeds a line), is replaced. The first answer to an item stands. Nobody can
//!   tell which of the items in flight did it, so each is given to the next process alone, which counts no
//!   attempt; an item that is alone when it happens twice fails for good, with the exit status and the last lines
//!   of standard error.
//! * As long as no process has answered anything, no item is blamed. A process that is replaced too often within
//!   a time stops the run, whatever the rule of the stage: nothing is wrong with the items. Restarts that an
//!   item explains do not count.

mod answer;
mod driver;
mod process;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aqueduct_core::{Clock, ErrorClass, Item};
use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::{ConfigError, StageError};
use crate::stage::{AsyncStage, Outcome};

use driver::{Driver, Request};

/// A stage that gives items to a program and takes its answers.
///
/// Processes are started when the first items arrive and are ended with the run: standard input is closed, and
/// what is still there after a grace is killed. On Unix each has a process group of its own, so that Ctrl-C
/// reaches the run alone and what is in flight can be finished.
#[derive(Debug)]
pub struct ExecStage {
    settings: Arc<Settings>,
    /// The processes' tasks, from the first item on. Held for moments only.
    lanes: Mutex<Option<Lanes>>,
}

/// Describes an [`ExecStage`]; [`ExecBuilder::build`] checks it.
#[derive(Clone, Debug)]
#[must_use = "a description does nothing until it is built"]
pub struct ExecBuilder(Settings);

/// Takes the lines that a program writes to standard error.
#[derive(Clone)]
pub struct StderrLines(Arc<dyn Fn(&str) + Send + Sync>);

impl StderrLines {
    /// Calls `take` for each line, without its end and without control characters, at most 8 KiB of it at once.
    /// It runs on the runtime, so it must not wait.
    pub fn new(take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Gives it a line.
    pub fn take(&self, line: &str) {
        (self.0)(line);
    }
}

impl fmt::Debug for StderrLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StderrLines")
    }
}

/// What was asked for, checked.
#[derive(Clone, Debug)]
struct Settings {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    search_path: Option<OsString>,
    processes: usize,
    in_flight: usize,
    timeout: Duration,
    answer_bytes_max: usize,
    restarts_max: u32,
    restart_window: Duration,
    grace: Duration,
    stderr_lines: Option<StderrLines>,
    clock: Clock,
}

#[derive(Debug)]
struct Lanes {
    each: Vec<Lane>,
    tasks: JoinSet<()>,
}

/// The way to the task of one process.
#[derive(Debug)]
struct Lane {
    requests: mpsc::Sender<Request>,
    /// Items on their way. Relaxed: it only balances.
    load: Arc<AtomicUsize>,
    /// Dropped, it tells the task to end its process.
    _open: oneshot::Sender<()>,
}

/// Takes an item off a lane's load, also when its future is dropped.
struct Loaded(Arc<AtomicUsize>);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ExecBuilder {
    /// Processes at once unless set otherwise: a program that wants more cores can use threads, and one that
    /// keeps state would be surprised by a twin.
    pub const PROCESSES: usize = 1;

    /// Items in flight for each process unless set otherwise: enough to hide a pipe's latency, few to send again.
    pub const IN_FLIGHT: usize = 16;

    /// The time of an item unless set otherwise; most calls of a program are a thousand times faster.
    pub const TIMEOUT: Duration = Duration::from_secs(30);

    /// The longest answer unless set otherwise: four of the longest lines that sources read by default.
    pub const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

    /// Restarts within [`ExecBuilder::RESTART_WINDOW`] unless set otherwise: with their waits it is seconds until a program that
    /// cannot work stops the run.
    pub const RESTARTS_MAX: u32 = 10;

    /// The time in which restarts are counted unless set otherwise; with their waits ten of them fit.
    pub const RESTART_WINDOW: Duration = Duration::from_secs(60);

    /// How long a process may take to end by itself unless set otherwise: time to write a summary.
    pub const GRACE: Duration = Duration::from_secs(5);

    /// Adds arguments, each as it is: no shell takes part.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable of the program, beside those of this process.
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.0.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the folder that the program runs in, from which a relative program with a slash starts too. Default:
    /// that of this process.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.0.folder = Some(folder.into());
        self
    }

    /// Sets what `PATH` holds, so that a program without a slash can be looked for before anything is read.
    /// Without it, a missing program shows with the first item.
    pub fn search_path(mut self, path: Option<OsString>) -> Self {
        self.0.search_path = path;
        self
    }

    /// Sets how many processes work side by side. Default [`ExecBuilder::PROCESSES`]; 1 to 256.
    pub fn processes(mut self, processes: usize) -> Self {
        self.0.processes = processes;
        self
    }

    /// Sets how many items a process may have and not have answered. Default [`ExecBuilder::IN_FLIGHT`]; 1 to
    /// 1,024. With 1 a program that ends leaves no doubt about the item.
    pub fn in_flight(mut self, in_flight: usize) -> Self {
        self.0.in_flight = in_flight;
        self
    }

    /// Sets the time of one item. Default [`ExecBuilder::TIMEOUT`]; 1 ms to one day.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout = timeout;
        self
    }

    /// Sets the longest answer in bytes. Default [`ExecBuilder::ANSWER_BYTES_MAX`]; 64 to 1 GiB.
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.0.answer_bytes_max = bytes;
        self
    }

    /// Sets how often each process may be replaced within a time before the run stops. Default
    /// [`ExecBuilder::RESTARTS_MAX`] within [`ExecBuilder::RESTART_WINDOW`]; 0 to 1,000 within 1 s to one day.
    pub fn restarts(mut self, most: u32, window: Duration) -> Self {
        self.0.restarts_max = most;
        self.0.restart_window = window;
        self
    }

    /// Sets how long a process may take to end after its standard input was closed. Default
    /// [`ExecBuilder::GRACE`]; up to one day.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.0.grace = grace;
        self
    }

    /// Also gives the lines of standard error to somebody. By default only the last few are kept, for messages.
    pub fn stderr_lines(mut self, lines: Option<StderrLines>) -> Self {
        self.0.stderr_lines = lines;
        self
    }

    /// Sets where time comes from. Default: the machine.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.0.clock = clock;
        self
    }

    /// Checks what was asked for.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] names the field, its value and the allowed range. Whether the program is there is
    /// seen when a run starts.
    pub fn build(self) -> Result<ExecStage, ConfigError> {
        const DAY: Duration = Duration::from_secs(86_400);
        let settings = self.0;
        let wrong = |field: &str, value: String, expected: &str| ConfigError::Value {
            field: field.to_owned(),
            value,
            expected: expected.to_owned(),
        };
        if settings.program.as_os_str().is_empty() {
            return Err(wrong("program", "\"\"".to_owned(), "a name or a path"));
        }
        if !(1..=256).contains(&settings.processes) {
            return Err(wrong("processes", settings.processes.to_string(), "from 1 to 256"));
        }
        if !(1..=1024).contains(&settings.in_flight) {
            return Err(wrong("in_flight", settings.in_flight.to_string(), "from 1 to 1024"));
        }
        if !(Duration::from_millis(1)..=DAY).contains(&settings.timeout) {
            return Err(wrong("timeout", format!("{:?}", settings.timeout), "from 1 ms to one day"));
        }
        if !(64..=1 << 30).contains(&settings.answer_bytes_max) {
            return Err(wrong(
                "answer_bytes_max",
                settings.answer_bytes_max.to_string(),
                "from 64 to 1073741824",
            ));
        }
        if settings.restarts_max > 1000 {
            return Err(wrong("restarts", settings.restarts_max.to_string(), "from 0 to 1000"));
        }
        if !(Duration::from_secs(1)..=DAY).contains(&settings.restart_window) {
            return Err(wrong(
                "restart window",
                format!("{:?}", settings.restart_window),
                "from 1 s to one day",
            ));
        }
        if settings.grace > DAY {
            return Err(wrong("grace", format!("{:?}", settings.grace), "at most one day"));
        }
        Ok(ExecStage { settings: Arc::new(settings), lanes: Mutex::new(None) })
    }
}

impl ExecStage {
    /// Starts the description of a stage that runs this program: a path, or a name that is looked for in `PATH`.
    pub fn builder(program: impl Into<PathBuf>) -> ExecBuilder {
        ExecBuilder(Settings {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            search_path: None,
            processes: ExecBuilder::PROCESSES,
            in_flight: ExecBuilder::IN_FLIGHT,
            timeout: ExecBuilder::TIMEOUT,
            answer_bytes_max: ExecBuilder::ANSWER_BYTES_MAX,
            restarts_max: ExecBuilder::RESTARTS_MAX,
            restart_window: ExecBuilder::RESTART_WINDOW,
            grace: ExecBuilder::GRACE,
            stderr_lines: None,
            clock: Clock::system(),
        })
    }

    /// Looks for the program without running it. `None` when it would have to be looked for in a `PATH` that
    /// was not given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Program`] when it is not there, or is not a program.
    pub fn locate(&self) -> Result<Option<PathBuf>, ConfigError> {
        self.settings.locate()
    }

    /// Gives an item to the process with the fewest.
    fn lane(&self) -> Option<(mpsc::Sender<Request>, Loaded)> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = lanes.get_or_insert_with(|| Lanes::start(&self.settings));
        let lane = lanes.each.iter().min_by_key(|lane| lane.load.load(Ordering::Relaxed))?;
        lane.load.fetch_add(1, Ordering::Relaxed);
        Some((lane.requests.clone(), Loaded(Arc::clone(&lane.load))))
    }
}

#[async_trait]
impl AsyncStage for ExecStage {
    async fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let gone = || StageError::new(ErrorClass::Cancelled, "the program was ended with the run");
        let id = item.id.to_string();
        let line = request_line(&id, item)?;
        let (requests, _loaded) = self.lane().ok_or_else(gone)?;
        let (reply, answer) = oneshot::channel();
        requests.send(Request { id, line, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn concurrency(&self) -> usize {
        self.settings.processes * self.settings.in_flight
    }

    fn describe(&self) -> Option<String> {
        Some(format!("program {}", self.settings.called()))
    }

    async fn open(&self) -> Result<(), ConfigError> {
        self.locate().map(|_| ())
    }

    async fn close(&self) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Lanes { each, mut tasks }) = lanes {
            drop(each);
            while tasks.join_next().await.is_some() {}
        }
    }
}

impl Lanes {
    fn start(settings: &Arc<Settings>) -> Self {
        let mut tasks = JoinSet::new();
        let each = (0..settings.processes)
            .map(|number| {
                let (requests, receiver) = mpsc::channel(settings.in_flight);
                let (open, closing) = oneshot::channel();
                let driver = Driver::new(Arc::clone(settings), receiver, number as u64);
                tasks.spawn(driver.run(closing));
                Lane { requests, load: Arc::default(), _open: open }
            })
            .collect();
        Self { each, tasks }
    }
}

impl Settings {
    /// The program as messages call it. Arguments may hold secrets and are left out.
    fn called(&self) -> String {
        self.program.display().to_string()
    }

    /// Whether the program is a path and not a name for `PATH`.
    fn is_path(&self) -> bool {
        self.program.components().count() > 1 || self.program.is_absolute() || self.program.starts_with(".")
    }

    /// The path to run, where it is one: relative ones start at the folder.
    fn path(&self) -> PathBuf {
        match &self.folder {
            Some(folder) if self.is_path() => {
                let path = folder.join(&self.program);
                std::path::absolute(&path).unwrap_or(path)
            }
            _ => self.program.clone(),
        }
    }

    fn locate(&self) -> Result<Option<PathBuf>, ConfigError> {
        let refused = |reason: String| ConfigError::Program { program: self.called(), reason };
        if self.is_path() {
            let path = self.path();
            return match runnable(&path) {
                Ok(()) => Ok(Some(path)),
                Err(reason) => Err(refused(format!("{} {reason}", path.display()))),
            };
        }
        let own = self.environment.iter().rev().find(|(name, _)| name == OsStr::new("PATH"));
        let Some(search_path) = own.map(|(_, value)| value).or(self.search_path.as_ref()) else {
            return Ok(None);
        };
        let mut nearly = None;
        for folder in std::env::split_paths(search_path) {
            for name in file_names(&self.program) {
                let path = folder.join(name);
                match runnable(&path) {
                    Ok(()) => return Ok(Some(path)),
                    Err(reason) if path.exists() => nearly = Some(format!("{} {reason}", path.display())),
                    Err(_) => {}
                }
            }
        }
        Err(refused(
            nearly.unwrap_or_else(|| "no folder of PATH has it; install it, or name its path".to_owned()),
        ))
    }
}

#[cfg(not(windows))]
fn file_names(program: &Path) -> Vec<OsString> {
    vec![program.as_os_str().to_owned()]
}

#[cfg(windows)]
fn file_names(program: &Path) -> Vec<OsString> {
    vec![program.as_os_str().to_owned(), program.with_extension("exe").into_os_string()]
}

/// Why a file cannot be run.
fn runnable(path: &Path) -> Result<(), String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("does not exist".to_owned()),
        Err(error) => Err(format!("cannot be looked at: {error}")),
        Ok(metadata) if !metadata.is_file() => Err("is not a file".to_owned()),
        Ok(metadata) if !may_run(&metadata) => Err("is not executable; make it so with chmod +x".to_owned()),
        Ok(_) => Ok(()),
    }
}

#[cfg(unix)]
fn may_run(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn may_run(_: &std::fs::Metadata) -> bool {
    true
}

fn request_line(id: &str, item: &Item) -> Result<Vec<u8>, StageError> {
    let mut line = Vec::with_capacity(256);
    line.extend_from_slice(b"{\"id\":\"");
    line.extend_from_slice(id.as_bytes());
    line.extend_from_slice(b"\",\"item\":");
    item.payload.write_json(&mut line)?;
    // Line ends stand between the parts of a JSON text only, never inside a text.
    for byte in line.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.extend_from_slice(b"}\n");
    Ok(line)
}
