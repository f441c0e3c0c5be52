use std::path::Path;
use std::process::Command;

use crate::process::{self, Root};
use crate::{Result, crash};

const HEADING: &str = "## Quick start";

/// One line of the README as a person would type it, and the exit code that the README promises.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    command: String,
    exits: i32,
}

/// Clones what is committed and does there what the README's quick start says.
///
/// The clone stands in the build folder at a path that stays the same, and shares the folder of the crash checker's release
/// builds, so that dependencies are not compiled again.
pub(crate) fn run(root: &Root) -> Result {
    let clone = root.target.join("quickstart");
    if clone.exists() {
        std::fs::remove_dir_all(&clone)?;
    }
    if !process::output(root.command("git").args(["status", "--porcelain"]))?.is_empty() {
        println!("    note: the clone holds what is committed; changes that are not are left out");
    }
    process::run(
        root.command("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(&root.path).arg(&clone),
    )?;
    // `./target/release/aqueduct` is then what the line before it has built.
    #[cfg(unix)]
    std::os::unix::fs::symlink(crash::folder(root), clone.join("target"))?;
    let readme = std::fs::read_to_string(clone.join("README.md"))?;
    for line in lines(&readme)? {
        follow(root, &clone, &line)?;
    }
    std::fs::remove_dir_all(&clone)?;
    Ok(())
}

fn follow(root: &Root, clone: &Path, line: &Line) -> Result {
    println!("    $ {}", line.command);
    let done = Command::new("bash")
        .args(["-c", &line.command])
        .current_dir(clone)
        .env("CARGO_TARGET_DIR", crash::folder(root))
        .output()?;
    if done.status.code() == Some(line.exits) {
        return Ok(());
    }
    Err(format!(
        "`{}` ended with {} and not with {}\n{}{}",
        line.command,
        done.status,
        line.exits,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    )
    .into())
}

/// Gives the lines after `$ ` in the console blocks of the quick start.
///
/// Fetching the repository is what the clone did already, so `git clone` and the `cd` after it are left out.
fn lines(readme: &str) -> Result<Vec<Line>> {
    let (mut inside, mut console, mut after_clone) = (false, false, false);
    let mut lines = Vec::new();
    for text in readme.lines() {
        if let Some(fence) = text.strip_prefix("```") {
            console = fence == "console";
        } else if text.starts_with("## ") {
            inside = text == HEADING;
        } else if let Some(command) = text.strip_prefix("$ ").filter(|_| inside && console) {
            let fetches = command.starts_with("git clone ");
            if !(fetches || after_clone && command.starts_with("cd ")) {
                lines.push(line(command)?);
            }
            after_clone = fetches;
        }
    }
    if lines.is_empty() {
        return Err(format!("README.md has no ```console block with a `$ ` line under {HEADING:?}").into());
    }
    Ok(lines)
}

fn line(text: &str) -> Result<Line> {
    let Some((command, code)) = text.rsplit_once("# exits ") else {
        return Ok(Line { command: text.trim_end().to_owned(), exits: 0 });
    };
    let exits = code.trim().parse().map_err(|_| format!("no exit code after `# exits` in: {text}"))?;
    Ok(Line { command: command.trim_end().to_owned(), exits })
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "\
# Aqueduct

```console
$ elsewhere
```

## Quick start

$ not in a block

```console
$ git clone https://example.org/aqueduct
$ cd aqueduct
$ cargo run --release -- run a.toml
read 3 items
$ cargo run --release -- run a.toml # exits 4
$ cd examples && ls
```

```toml
$ not a console
```

## Later

```console
$ not any more
```
";

    #[test]
    fn takes_the_console_lines_of_the_quick_start_and_their_exit_codes() {
        let line = |command: &str, exits| Line { command: command.to_owned(), exits };
        assert_eq!(
            lines(README).expect("the README is well formed"),
            [
                line("cargo run --release -- run a.toml", 0),
                line("cargo run --release -- run a.toml", 4),
                line("cd examples && ls", 0)
            ]
        );
    }

    #[test]
    fn a_readme_without_a_quick_start_is_a_failure() {
        assert!(lines("# Aqueduct\n").is_err());
        assert!(lines("## Quick start\n\n```console\n$ a # exits soon\n```\n").is_err());
    }
}
