//! The task that owns one process after the other: who is in flight, who is to blame, when to start again.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Instant, Random};
use aqueduct_retry::{Attempt, Growth, Jitter, Next, Schedule};
use tokio::sync::{mpsc, oneshot};

use super::process::{Event, Process};
use super::{Settings, answer};
use crate::error::StageError;
use crate::stage::Outcome;

/// The first wait before a process is replaced, before jitter: a program that ends now and then is back at once.
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// The longest: ten restarts of a program that cannot work take a few seconds, not a minute.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(2);

/// How often a process may fail on an item alone: once may be chance, such as a machine without memory.
const FAULTS_MAX: u32 = 2;

/// How many answered ids are remembered, to tell a second answer from one to an item that was never given.
const ANSWERED_MAX: usize = 1024;

/// An item for a process.
pub(super) struct Request {
    pub(super) id: String,
    pub(super) line: Vec<u8>,
    pub(super) reply: oneshot::Sender<Result<Outcome, StageError>>,
}

struct Task {
    request: Request,
    /// A process failed while it had this item: it goes alone now.
    suspect: bool,
    /// How often a process failed while it had nothing else.
    faults: u32,
}

/// Why a process is replaced.
enum Fault {
    /// The oldest item was not answered in time.
    Late,
    /// It closed its output.
    Ended,
    /// It broke the protocol.
    Protocol(String),
    /// It broke the protocol over an item that it no longer has, so none that it has is to blame.
    Repeated(String),
}

pub(super) struct Driver {
    settings: Arc<Settings>,
    requests: mpsc::Receiver<Request>,
    random: Random,
    schedule: Schedule,
    process: Option<Process>,
    /// What the process has and has not answered, the oldest first.
    in_flight: VecDeque<Task>,
    /// Since when the oldest is the oldest.
    oldest_since: Instant,
    answered: VecDeque<String>,
    /// Not given to a process yet.
    fresh: VecDeque<Task>,
    /// In flight when a process failed: they go alone.
    suspects: VecDeque<Task>,
    /// When processes were replaced, within the window.
    restarts: VecDeque<Instant>,
    /// Failures since the last answer.
    failures: u32,
    /// What happened to the last process.
    last_words: Option<String>,
    /// Some process has answered something: the program works.
    proven: bool,
    /// Why no process is started any more.
    broken: Option<String>,
}

impl Driver {
    /// The number keeps several processes from being replaced in step.
    pub(super) fn new(settings: Arc<Settings>, requests: mpsc::Receiver<Request>, number: u64) -> Self {
        let schedule = Schedule::builder(Growth::Exponential { first: RESTART_DELAY, factor: 2.0 })
            .jitter(Jitter::Full)
            .retries_max(u32::MAX)
            .delay_max(RESTART_DELAY_MAX)
            .build()
            .expect("constants within the ranges of the builder");
        let oldest_since = settings.clock.now();
        Self {
            settings,
            requests,
            random: Random::seeded(number),
            schedule,
            process: None,
            in_flight: VecDeque::new(),
            oldest_since,
            answered: VecDeque::new(),
            fresh: VecDeque::new(),
            suspects: VecDeque::new(),
            restarts: VecDeque::new(),
            failures: 0,
            last_words: None,
            proven: false,
            broken: None,
        }
    }

    /// Works until the stage is closed; then the process is ended.
    pub(super) async fn run(mut self, mut closing: oneshot::Receiver<()>) {
        tokio::select! {
            biased;
            // Nothing is ever sent: the other side is dropped.
            _ = &mut closing => {}
            () = self.work() => {}
        }
        let Some(process) = self.process.take() else { return };
        if self.in_flight.is_empty() {
            process.finish(&self.settings.clock, self.settings.grace).await;
        } else {
            // Nobody waits for these answers any more.
            process.kill_now(&self.settings.clock).await;
        }
    }

    /// # Cancel safety
    ///
    /// When it is dropped, the process and the items are still where they were.
    async fn work(&mut self) {
        loop {
            if self.broken.is_some() {
                self.refuse_all();
            } else if self.process.is_none() && !(self.fresh.is_empty() && self.suspects.is_empty()) {
                self.start().await;
                continue;
            }
            self.fill();
            let held = self.fresh.len() + self.suspects.len() + self.in_flight.len();
            let clock = self.settings.clock.clone();
            let left = self.settings.timeout.saturating_sub(clock.now().since(self.oldest_since));
            let waits = !self.in_flight.is_empty();
            // The program works in real time.
            let busy = waits.then(|| clock.busy());
            let event = tokio::select! {
                request = self.requests.recv(), if held < self.settings.in_flight => match request {
                    Some(request) => {
                        self.fresh.push_back(Task { request, suspect: false, faults: 0 });
                        continue;
                    }
                    None => return,
                },
                event = event_of(&mut self.process) => event,
                () = clock.sleep(left), if waits => {
                    self.fail(Fault::Late).await;
                    continue;
                }
            };
            drop(busy);
            match event {
                Ok(Event::Took) => {}
                Ok(Event::Line(line)) if line.trim_ascii().is_empty() => {}
                Ok(Event::Line(line)) => {
                    if let Err(fault) = self.take(&line) {
                        self.fail(fault).await;
                    }
                }
                Ok(Event::TooLong) => {
                    let most = self.settings.answer_bytes_max;
                    let text =
                        format!("it wrote a line of more than {most} bytes (stage key answer_bytes_max)");
                    self.fail(Fault::Protocol(text)).await;
                }
                Ok(Event::Ended) => self.fail(Fault::Ended).await,
                Err(error) => {
                    self.fail(Fault::Protocol(format!("its output cannot be read: {error}"))).await;
                }
            }
        }
    }

    /// Gives items to the process, as many as it may have.
    fn fill(&mut self) {
        let Some(process) = &mut self.process else { return };
        let mut given = Vec::new();
        if !self.suspects.is_empty() {
            if self.in_flight.is_empty() {
                given.extend(self.suspects.pop_front());
            }
        } else if !self.in_flight.iter().any(|task| task.suspect) {
            let room = self.settings.in_flight.saturating_sub(self.in_flight.len());
            given.extend(self.fresh.drain(..room.min(self.fresh.len())));
        }
        // An item whose batch was given up has nobody to answer to.
        for task in given.into_iter().filter(|task| !task.request.reply.is_closed()) {
            if self.in_flight.is_empty() {
                self.oldest_since = self.settings.clock.now();
            }
            process.write(&task.request.line);
            self.in_flight.push_back(task);
        }
    }

    /// Takes a line as an answer.
    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        let answer = answer::read(line).map_err(Fault::Protocol)?;
        let Some(at) = self.in_flight.iter().position(|task| task.request.id == answer.id) else {
            return Err(if self.answered.contains(&answer.id) {
                Fault::Repeated(format!("it answered item {} twice", answer.id))
            } else {
                Fault::Protocol(format!(
                    "it answered item {:?}, which it was not given",
                    shortened(&answer.id)
                ))
            });
        };
        if at == 0 {
            self.oldest_since = self.settings.clock.now();
        }
        if let Some(task) = self.in_flight.remove(at) {
            let _ = task.request.reply.send(answer.verdict);
        }
        if self.answered.len() == ANSWERED_MAX {
            self.answered.pop_front();
        }
        self.answered.push_back(answer.id);
        self.proven = true;
        self.failures = 0;
        Ok(())
    }

    /// Ends the process and finds out what that means for the items it had.
    async fn fail(&mut self, fault: Fault) {
        let Some(process) = self.process.take() else { return };
        let clock = self.settings.clock.clone();
        let program = self.settings.called();
        let had: Vec<Task> = self.in_flight.drain(..).collect();
        let alone = had.len() == 1 && !matches!(fault, Fault::Repeated(_));
        self.answered.clear();
        self.failures = self.failures.saturating_add(1);
        match fault {
            Fault::Late => {
                let seconds = self.settings.timeout.as_secs_f64();
                let mut text = format!("{program} did not answer within {seconds} s and was ended");
                with_last_lines(&mut text, &process.kill_now(&clock).await);
                let mut had = had.into_iter();
                if let Some(oldest) = had.next() {
                    let _ = oldest.request.reply.send(Err(StageError::transient(text.clone())));
                }
                had.rev().for_each(|task| self.fresh.push_front(task));
                self.last_words = Some(text);
                return;
            }
            Fault::Ended => {
                let (status, lines) = process.end(&clock).await;
                let how = status.map_or("in an unknown way".to_owned(), |status| format!("with {status}"));
                let mut text = format!("{program} ended {how}");
                with_last_lines(&mut text, &lines);
                self.last_words = Some(text);
            }
            Fault::Protocol(what) | Fault::Repeated(what) => {
                let mut text = format!("{program} was ended: {what}");
                with_last_lines(&mut text, &process.kill_now(&clock).await);
                self.last_words = Some(text);
            }
        }
        for mut task in had {
            task.suspect = true;
            task.faults += u32::from(alone);
            if task.faults >= FAULTS_MAX && self.proven {
                // These restarts have their explanation: the program works, but not on this item.
                let explained = FAULTS_MAX as usize + 1;
                self.restarts.truncate(self.restarts.len().saturating_sub(explained));
                let text = self.last_words.clone().unwrap_or_default();
                let _ = task.request.reply.send(Err(StageError::permanent(text)));
            } else {
                self.suspects.push_back(task);
            }
        }
    }

    /// Starts a process, after a wait if another one failed before it.
    async fn start(&mut self) {
        let clock = self.settings.clock.clone();
        if let Some(last_words) = &self.last_words {
            let now = clock.now();
            let window = self.settings.restart_window;
            while self.restarts.front().is_some_and(|restart| now.since(*restart) > window) {
                self.restarts.pop_front();
            }
            if self.restarts.len() >= self.settings.restarts_max as usize {
                self.broken = Some(format!(
                    "{last_words}; it was started again {} times within {} s, which is the most \
                     (stage keys restarts_max and restart_window_seconds)",
                    self.restarts.len(),
                    window.as_secs_f64()
                ));
                return;
            }
            let failed = Attempt { number: self.failures, ..Attempt::default() };
            if let Next::Wait(delay) = self.schedule.next(&failed, &mut self.random) {
                clock.sleep(delay).await;
            }
            self.restarts.push_back(clock.now());
        }
        match Process::start(&self.settings) {
            Ok(process) => self.process = Some(process),
            Err(error) => {
                let text = format!("{} cannot be started: {error}", self.settings.called());
                // What is missing stays missing; anything else, such as too many processes, may pass.
                let missing = matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied
                );
                if missing {
                    self.broken = Some(text.clone());
                }
                self.failures = self.failures.saturating_add(1);
                self.last_words = Some(text);
            }
        }
    }

    /// Tells every item that there is no process for it, and will not be.
    fn refuse_all(&mut self) {
        let text = self.broken.clone().unwrap_or_default();
        let held = self.suspects.drain(..).chain(self.in_flight.drain(..)).chain(self.fresh.drain(..));
        for task in held {
            let _ = task.request.reply.send(Err(StageError::stop(text.clone())));
        }
    }
}

/// The next event of the process; never, while there is none.
async fn event_of(process: &mut Option<Process>) -> std::io::Result<Event> {
    match process {
        Some(process) => process.event().await,
        None => std::future::pending().await,
    }
}

fn with_last_lines(text: &mut String, lines: &str) {
    if !lines.is_empty() {
        let _ = write!(text, "; it said: {lines}");
    }
}

/// Enough of an id to recognise it by.
fn shortened(id: &str) -> String {
    id.chars().take(60).collect()
}
