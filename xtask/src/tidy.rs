mod decisions;
mod leaks;
mod links;
mod manifests;
mod marks;
mod metrics;
mod names;
mod rust;
mod sizes;
mod story;
mod unsafety;

use std::collections::BTreeMap;
use std::fmt;

use crate::Result;
use crate::process::{self, Root};

/// Every file that is tracked or would be, by its path from the root with `/` between the parts.
#[derive(Debug, Default)]
struct Tree(BTreeMap<String, File>);

#[derive(Debug)]
struct File {
    bytes: u64,
    /// Absent when the file is not text.
    text: Option<String>,
}

/// One thing that is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1, and 0 when the whole file is meant.
    line: usize,
    message: String,
}

/// Reads the files of the checkout and reports everything that a rule forbids.
pub(crate) fn run(root: &Root) -> Result {
    let tree = Tree::read(root)?;
    let findings = check(&tree);
    if findings.is_empty() {
        println!("    {} files, nothing to report", tree.0.len());
        return Ok(());
    }
    for finding in &findings {
        println!("    {finding}");
    }
    Err(format!("tidy found {} things to put right", findings.len()).into())
}

/// Every check, in the order in which a reader meets what it guards.
fn check(tree: &Tree) -> Vec<Finding> {
    let checks: [fn(&Tree) -> Vec<Finding>; 10] = [
        names::check,
        manifests::check,
        story::check,
        metrics::check,
        marks::check,
        links::check,
        decisions::check,
        leaks::check,
        sizes::check,
        unsafety::check,
    ];
    checks.iter().flat_map(|check| check(tree)).collect()
}

// ---- impls ----

impl Tree {
    fn read(root: &Root) -> Result<Self> {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = String::from_utf8(process::output(root.command("git").args(list))?)?;
        let mut tree = Self::default();
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            let file = root.path.join(path);
            // A file that is deleted and still tracked is listed too.
            let Ok(metadata) = std::fs::symlink_metadata(&file) else { continue };
            let text = match metadata.is_file() {
                true => String::from_utf8(std::fs::read(&file)?).ok(),
                false => None,
            };
            tree.0.insert(path.to_owned(), File { bytes: metadata.len(), text });
        }
        Ok(tree)
    }

    /// The text files whose path passes `wanted`.
    fn texts<'a>(&'a self, wanted: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(move |(path, _)| wanted(path))
            .filter_map(|(path, file)| Some((path.as_str(), file.text.as_deref()?)))
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path)?.text.as_deref()
    }

    fn has_file(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    fn has_folder(&self, path: &str) -> bool {
        let below = format!("{path}/");
        path.is_empty()
            || self.0.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
    }

    /// The names of the folders right below `crates`.
    fn crates(&self) -> Vec<&str> {
        let mut names: Vec<_> =
            self.0.keys().filter_map(|path| Some(path.strip_prefix("crates/")?.split_once('/')?.0)).collect();
        names.dedup();
        names
    }
}

impl Finding {
    fn file(path: &str, message: impl Into<String>) -> Self {
        Self::line(path, 0, message)
    }

    fn line(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

#[cfg(test)]
impl Tree {
    /// A checkout of the given files.
    fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| {
            let bytes = u64::try_from(text.len()).expect("a test file is short");
            ((*path).to_owned(), File { bytes, text: Some((*text).to_owned()) })
        });
        Self(files.collect())
    }
}

#[cfg(test)]
impl Finding {
    /// `path:line` of each finding, which is what most tests ask for.
    fn places(findings: &[Self]) -> Vec<String> {
        findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
    }
}
