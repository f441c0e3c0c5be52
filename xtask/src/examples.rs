use std::process::Command;

use crate::alone::parts;
use crate::process::{self, Root};
use crate::{Result, test};

/// Runs every example of every part to its end.
///
/// They are built in one go with the features that the tests are built with, so that nothing is compiled for them but
/// themselves. That a part builds with fewer features is the matter of another step.
pub(crate) fn run(root: &Root) -> Result {
    process::run(root.cargo(&["build", "--quiet", "--workspace", "--examples"]).args(test::AS_TESTED))?;
    let folder = root.target.join("debug/examples");
    for package in parts(root)? {
        for target in package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "example"))
        {
            let program = folder.join(format!("{}{}", target.name, std::env::consts::EXE_SUFFIX));
            if !program.exists() {
                return Err(format!(
                    "the example {} of {} was not built: it requires {:?}, and the tests are built with {}",
                    target.name,
                    package.name,
                    target.required_features,
                    test::AS_TESTED[1]
                )
                .into());
            }
            process::run(Command::new(program).current_dir(&root.path))?;
        }
    }
    Ok(())
}
