//! Runs the binary, struck or not, and waits for its end.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::error::CrashError;
use crate::point::{Action, Blow, Target};
use crate::strace;

/// How long a run may take: a hundred times what it takes on a slow machine. One that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// A signal ended it, as a kill does.
    Killed,
    /// It ended by itself.
    Exited { code: i32, messages: String },
    /// It had to be ended.
    Hung,
}

impl Ended {
    /// Tells whether the run says that all work is done: 0 done, 3 done with dead letters, 4 nothing to do.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Exited { code: 0 | 3 | 4, .. })
    }

    /// What happened, for people.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Killed => "was killed".to_owned(),
            Self::Hung => format!("hung for {} s", PATIENCE.as_secs()),
            Self::Exited { code, messages } => {
                let tail: Vec<&str> = messages.lines().rev().take(4).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                format!("ended with exit code {code}: {}", tail.join(" | "))
            }
        }
    }
}

/// The binary on one workload's folder.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) folder: &'a Path,
    /// What the binary is called with.
    pub(crate) command: &'a [&'a str],
    pub(crate) sabotage: Option<&'a str>,
}

impl Run<'_> {
    /// Runs the command to its end, or to the blow.
    pub(crate) async fn go(&self, blow: Option<&Blow>) -> Result<Ended, CrashError> {
        let mut command = match blow {
            Some(Blow { target: Target::Call { name, file }, action, at }) => {
                let log = match action {
                    Action::Kill => PathBuf::from("/dev/null"),
                    Action::Error => self.log(),
                };
                self.traced(strace::striking(self.folder, name, file, *action, *at, &log))
            }
            _ => self.plain(),
        };
        if let Some(Blow { target: Target::FailPoint(name), action, at }) = blow {
            let action = match action {
                Action::Kill => "kill",
                Action::Error => "error",
            };
            command.env("AQUEDUCT_FAILPOINTS", format!("{name}={action}@{at}"));
        }
        wait(command).await
    }

    /// Runs the command and gives every call that changes one of its files.
    pub(crate) async fn count(&self) -> Result<(Ended, Vec<strace::Call>), CrashError> {
        let ended = wait(self.traced(strace::counting(&self.log()))).await?;
        Ok((ended, self.calls()?))
    }

    /// Reads the log of the last traced run.
    pub(crate) fn calls(&self) -> Result<Vec<strace::Call>, CrashError> {
        let path = self.log();
        let log = std::fs::read(&path).map_err(|source| CrashError::Folder { path, source })?;
        Ok(strace::read(&String::from_utf8_lossy(&log), self.folder))
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("strace")
    }

    fn plain(&self) -> Command {
        self.prepared(Command::new(self.binary))
    }

    fn traced(&self, arguments: Vec<String>) -> Command {
        let mut command = Command::new("strace");
        command.args(arguments).arg(self.binary);
        self.prepared(command)
    }

    fn prepared(&self, mut command: Command) -> Command {
        command
            .args(self.command)
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env_remove("AQUEDUCT_FAILPOINTS")
            .env_remove("AQUEDUCT_SABOTAGE")
            .process_group(0)
            .kill_on_drop(true);
        if let Some(sabotage) = self.sabotage {
            command.env("AQUEDUCT_SABOTAGE", sabotage);
        }
        command
    }
}

async fn wait(mut command: Command) -> Result<Ended, CrashError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let hint = if program == "strace" { "install strace" } else { "is it built, and is the path right?" };
    let mut child =
        command.spawn().map_err(|source| CrashError::Start { program: program.clone(), hint, source })?;
    let ended = tokio::time::timeout(PATIENCE, end_of(&mut child)).await;
    match ended {
        Ok(Ok((status, messages))) => Ok(ended_by(status, messages)),
        Ok(Err(source)) => Err(CrashError::Start { program, hint, source }),
        Err(_) => {
            end_group(&mut child).await;
            Ok(Ended::Hung)
        }
    }
}

async fn end_of(child: &mut Child) -> std::io::Result<(ExitStatus, String)> {
    let mut messages = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut messages).await?;
    }
    Ok((child.wait().await?, String::from_utf8_lossy(&messages).into_owned()))
}

fn ended_by(status: ExitStatus, messages: String) -> Ended {
    match (status.signal(), status.code()) {
        (None, Some(code)) => Ended::Exited { code, messages },
        _ => Ended::Killed,
    }
}

/// Ends a run that hangs, and the program that traces it: both are in the group that the child leads.
async fn end_group(child: &mut Child) {
    if let Some(id) = child.id() {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).status().await;
    }
    let _ = child.kill().await;
}
