use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A redis-server that belongs to one test. It is killed when it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    args: Vec<String>,
}

/// A server that a test cannot have.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not installed. A test fails with this and is never skipped.
    #[error("{program} cannot be started; install it with: {install}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The command that installs it.
        install: &'static str,
        /// Why it cannot be started.
        source: io::Error,
    },
    /// It ended before it was ready; these are its last words.
    #[error("{program} ended before it was ready: {said}")]
    Ended {
        /// The program.
        program: &'static str,
        /// What it wrote.
        said: String,
    },
    /// The system refused a folder, a port or a signal.
    #[error("the system refused what a server needs")]
    Io(#[from] io::Error),
}

const PROGRAM: &str = "redis-server";
const INSTALL: &str = "apt-get install redis-server, or brew install redis";

/// Somebody else may take a free port between the look and the start.
const PORTS_TRIED: usize = 5;

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`ServerError`] when it is missing or does not start.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[])
    }

    /// The same with further arguments, such as `--maxmemory 1mb`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(args: &[&str]) -> Result<Self, ServerError> {
        let folder = tempfile::tempdir()?;
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut last = None;
        for _ in 0..PORTS_TRIED {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            match spawn(port, &folder, &args) {
                Ok(child) => return Ok(Self { child, port, folder, args }),
                Err(error @ ServerError::Ended { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other("no port was free").into()))
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as clients want to be told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Kills it, without a chance to say goodbye.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Starts it again on the same port, after [`kill`](Self::kill).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.child = spawn(self.port, &self.folder, &self.args)?;
        Ok(())
    }

    /// Stops it in the middle of what it does: connections stay open and nobody answers.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // One that is gone already is gone.
        let _ = self.kill();
    }
}

fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Result<Child, ServerError> {
    let mut child = Command::new(PROGRAM)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(folder.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| ServerError::Missing { program: PROGRAM, install: INSTALL, source })?;
    let Some(output) = child.stdout.take() else {
        return Err(io::Error::other("the output of a child is not there").into());
    };
    match until_ready(BufReader::new(output)) {
        Ok(()) => Ok(child),
        Err(said) => {
            // It has closed its output, so it is ending; nothing is left behind in either case.
            let _ = child.kill();
            let _ = child.wait();
            Err(ServerError::Ended { program: PROGRAM, said })
        }
    }
}

/// Reads its log to the line that says so, and goes on reading, so that it never waits for a reader.
fn until_ready(mut output: BufReader<ChildStdout>) -> Result<(), String> {
    let mut said = String::new();
    loop {
        let start = said.len();
        match output.read_line(&mut said) {
            Ok(0) | Err(_) => return Err(said),
            Ok(_) if said[start..].contains("Ready to accept connections") => break,
            Ok(_) => {}
        }
    }
    std::thread::spawn(move || io::copy(&mut output, &mut io::sink()));
    Ok(())
}
