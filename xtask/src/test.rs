use crate::process::{self, Root};
use crate::{Result, needs};

/// Features that add tests and change nothing else, as arguments of Cargo; those of the crash checker are not among them.
pub(crate) const AS_TESTED: &[&str] = &[
    "--features",
    "aqueduct-balancer/health,aqueduct-balancer/tower,aqueduct-breaker/tower,aqueduct-ratelimit/headers,aqueduct-ratelimit/redis,aqueduct-ratelimit/tower,aqueduct-retry/tower",
];

/// Runs the tests of the whole workspace, or of the packages that the arguments name, and first makes sure
/// that what they need is there.
///
/// `--tests` takes unit and behaviour tests and leaves out benches, whose runs take minutes, and doc tests,
/// which are a step of their own.
pub(crate) fn run(root: &Root, args: &[String]) -> Result {
    needs::meet_all()?;
    let mut command = root.cargo(&["test", "--tests"]);
    // Cargo takes the whole workspace when both are given.
    if !args.iter().any(|arg| arg.starts_with("-p") || arg.starts_with("--package")) {
        command.arg("--workspace").args(AS_TESTED);
    }
    process::run(command.args(args))
}
