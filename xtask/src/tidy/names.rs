use super::{Finding, Tree};

/// Names that say where code was put and not what it is; the concept's own name is better.
const BANNED: &[&str] = &["common", "helpers", "imp", "manager", "misc", "types", "util", "utils"];

/// Folders and source files are named for a concept, and a module's file stands beside its folder.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in tree.0.keys() {
        let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = file.strip_suffix(".rs");
        for name in folders.split('/').chain(stem) {
            if BANNED.contains(&name) {
                findings.push(Finding::file(path, format!("{name:?} is no name of a concept")));
            }
        }
        if stem == Some("mod") {
            findings.push(Finding::file(path, "write x.rs beside the folder x, not mod.rs in it"));
        }
    }
    for name in tree.crates().into_iter().filter(|name| !name.starts_with("aqueduct-")) {
        findings.push(Finding::file(&format!("crates/{name}"), "a crate's folder starts with aqueduct-"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_concept_is_found_in_folders_and_files() {
        let tree = Tree::of(&[
            ("crates/aqueduct-a/src/utils.rs", ""),
            ("crates/aqueduct-a/src/common/x.rs", ""),
            ("crates/aqueduct-a/src/x/mod.rs", ""),
            ("crates/other/src/lib.rs", ""),
            ("crates/aqueduct-a/src/utilisation.rs", ""),
            ("docs/types.md", ""),
        ]);
        assert_eq!(
            Finding::places(&check(&tree)),
            [
                "crates/aqueduct-a/src/common/x.rs:0",
                "crates/aqueduct-a/src/utils.rs:0",
                "crates/aqueduct-a/src/x/mod.rs:0",
                "crates/other:0"
            ]
        );
    }
}
