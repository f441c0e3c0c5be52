//! The programs that the tests start, and how each is installed.

use std::process::Command;

use crate::Result;
use crate::process;

/// A program without which some test cannot run.
#[derive(Debug)]
pub(crate) struct Need {
    program: &'static str,
    reason: &'static str,
    /// Arguments with which the program proves that it works here and not only that it is installed.
    probe: &'static [&'static str],
    /// The systems on which some test starts it, as in `std::env::consts::OS`.
    systems: &'static [&'static str],
    /// What to do when the program is installed and its probe fails all the same.
    refused: &'static str,
    apt: Option<&'static str>,
    brew: Option<&'static str>,
}

pub(crate) const NEEDS: &[Need] = &[
    Need {
        program: "strace",
        reason: "kills a run at its writing system calls and injects errors into them",
        probe: &["-o", "/dev/null", "true"],
        systems: &["linux"],
        refused: "the system forbids tracing; in a container, start it with the capability SYS_PTRACE",
        apt: Some("strace"),
        brew: None,
    },
    Need {
        program: "unshare",
        reason: "gives a test a disk of its own that is full",
        probe: &["--user", "--map-root-user", "--mount", "true"],
        systems: &["linux"],
        refused: "user namespaces are forbidden; allow them with: sysctl -w kernel.unprivileged_userns_clone=1 \
                  user.max_user_namespaces=1000 kernel.apparmor_restrict_unprivileged_userns=0",
        apt: Some("util-linux"),
        brew: None,
    },
    Need {
        program: "python3",
        reason: "is what programs of exec stages are written in",
        probe: &["-c", "import json"],
        systems: &["linux", "macos"],
        refused: "it is there and cannot import its own json module; install it again",
        apt: Some("python3"),
        brew: Some("python3"),
    },
    Need {
        program: "jq",
        reason: "is the program of an exec stage in the guide",
        probe: &["-n", "--unbuffered", "1"],
        systems: &["linux", "macos"],
        refused: "it is there and does not know --unbuffered; version 1.5 does",
        apt: Some("jq"),
        brew: Some("jq"),
    },
    Need {
        program: "sqlite3",
        reason: "is what the guides ask tables with",
        probe: &["-version"],
        systems: &["linux", "macos"],
        refused: "it is there and does not start; install it again",
        apt: Some("sqlite3"),
        brew: Some("sqlite"),
    },
    Need {
        program: "redis-server",
        reason: "is what the shared rate limiter counts in",
        probe: &["--version"],
        systems: &["linux", "macos"],
        refused: "it is there and does not start; install it again",
        apt: Some("redis-server"),
        brew: Some("redis"),
    },
];

/// Makes sure that everything the tests need is there, installing what is missing where that is possible.
///
/// A need that cannot be met is an error with the command to type: no test is skipped in silence.
pub(crate) fn meet_all() -> Result {
    for need in NEEDS.iter().filter(|need| need.systems.contains(&std::env::consts::OS)) {
        need.meet()?;
    }
    Ok(())
}

impl Need {
    fn meet(&self) -> Result {
        if self.works() {
            println!("    {} is there", self.program);
            return Ok(());
        }
        if !has(self.program) {
            println!("    {} is missing", self.program);
            let installed = self.installers().iter().any(|line| {
                println!("    trying: {line}");
                process::succeeds(Command::new("sh").args(["-c", line]))
            });
            if !installed {
                return Err(self.message().into());
            }
        }
        match self.works() {
            true => Ok(()),
            false => {
                Err(format!("{} is installed and does not work here: {}", self.program, self.refused).into())
            }
        }
    }

    fn works(&self) -> bool {
        process::succeeds(Command::new(self.program).args(self.probe))
    }

    /// The shell lines that may install it, the one that asks for least first.
    fn installers(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(package) = self.apt.filter(|_| has("apt-get")) {
            for sudo in ["", "sudo -n "] {
                // A package may stop to ask a question, and a fresh container has no package lists.
                let install =
                    format!("{sudo}env DEBIAN_FRONTEND=noninteractive apt-get install -y {package}");
                lines.push(format!("{install} || {{ {sudo}apt-get update && {install}; }}"));
            }
        }
        if let Some(package) = self.brew.filter(|_| has("brew")) {
            lines.push(format!("brew install {package}"));
        }
        lines
    }

    fn message(&self) -> String {
        let by_hand = match (self.apt, self.brew) {
            (Some(package), _) if has("apt-get") => format!("sudo apt-get install -y {package}"),
            (_, Some(package)) if has("brew") => format!("brew install {package}"),
            _ => format!("the package manager of this system, package {:?}", self.program),
        };
        format!(
            "{} is missing ({}) and could not be installed; install it with: {by_hand}",
            self.program, self.reason
        )
    }
}

/// Tells whether a program is installed.
fn has(program: &str) -> bool {
    process::succeeds(Command::new(program).arg("--version"))
}
