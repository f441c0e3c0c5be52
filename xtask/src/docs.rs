use std::process::Command;

use crate::process::{self, Root};
use crate::{Result, test};

/// What to do with a reference that is not current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Fail and leave the file as it is.
    Only,
    /// Write the file.
    AndWrite,
}

/// The generated pages: what the binary is asked for, and where the answer belongs.
const REFERENCES: &[(&str, &str)] =
    &[("cli", "docs/reference/cli.md"), ("config", "docs/reference/config.md")];

/// Writes the generated references, or checks that they say what the code says.
pub(crate) fn run(root: &Root, check: Check) -> Result {
    // With the features of the tests, so that what they have built serves.
    let build = ["build", "--quiet", "--workspace", "--bin", "aqueduct"];
    process::run(root.cargo(&build).args(test::AS_TESTED))?;
    let binary = root.target.join("debug").join(format!("aqueduct{}", std::env::consts::EXE_SUFFIX));
    let mut stale = Vec::new();
    for (subject, path) in REFERENCES {
        let fresh = String::from_utf8(process::output(Command::new(&binary).args(["reference", subject]))?)?;
        if fresh.trim().is_empty() {
            return Err(format!("`aqueduct reference {subject}` printed nothing").into());
        }
        let file = root.path.join(path);
        let current = std::fs::read_to_string(&file).unwrap_or_default();
        match difference(&current, &fresh) {
            None => println!("    {path} is current"),
            Some(at) if check == Check::Only => stale.push(format!("{path}:{at}")),
            Some(_) => {
                std::fs::write(&file, fresh).map_err(|error| format!("cannot write {path}: {error}"))?;
                println!("    {path} written");
            }
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("{} differs from what the code says; run cargo xtask docs", stale.join(" and ")).into())
}

/// Gives the number of the first line that differs.
fn difference(current: &str, fresh: &str) -> Option<usize> {
    if current == fresh {
        return None;
    }
    let same = current.lines().zip(fresh.lines()).take_while(|(left, right)| left == right).count();
    Some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_stale_page_is_named_with_its_first_wrong_line() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(difference("", "a\n"), Some(1));
        assert_eq!(difference("a", "a\n"), Some(2), "a missing line end is a difference too");
    }
}
