use std::path::PathBuf;

use crate::process::{self, Root};
use crate::{Result, needs};

/// Where the checker and what it kills are built. Other checks of a release build it there too, for the sake of what all of them
/// depend on.
pub(crate) fn folder(root: &Root) -> PathBuf {
    root.target.join("crash")
}

/// Builds the binary with its fail points and lets the checker kill it, resume it and judge what is there.
///
/// The build has a folder of its own: features are unified per build, and a fail point must never reach the
/// binary that a user runs.
pub(crate) fn run(root: &Root, args: &[String]) -> Result {
    needs::meet_all()?;
    let target = folder(root);
    let binary = target.join("release").join(format!("aqueduct{}", std::env::consts::EXE_SUFFIX));
    process::run(
        root.cargo(&["build", "--release", "-p", "aqueduct-cli", "--features", "failpoints", "--target-dir"])
            .arg(&target),
    )?;
    process::run(
        root.cargo(&[
            "run",
            "--release",
            "-p",
            "aqueduct-testkit",
            "--bin",
            "aqueduct-crash",
            "--target-dir",
        ])
        .arg(&target)
        .args(["--", "--binary"])
        .arg(&binary)
        .args(args),
    )
}
