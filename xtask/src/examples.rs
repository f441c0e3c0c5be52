use crate::Result;
use crate::alone::parts;
use crate::process::{self, Root};

/// Runs every example of every part to its end.
pub(crate) fn run(root: &Root) -> Result {
    for package in parts(root)? {
        for target in package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "example"))
        {
            let mut command =
                root.cargo(&["run", "--quiet", "--package", &package.name, "--example", &target.name]);
            if !target.required_features.is_empty() {
                command.args(["--features", &target.required_features.join(",")]);
            }
            process::run(&mut command)?;
        }
    }
    Ok(())
}
