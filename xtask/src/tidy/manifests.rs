use toml::Table;

use super::{Finding, Tree};

/// A workspace of its own, so that rivals stay out of ours.
const APART: &str = "benches/peers/";

/// Every member inherits the lints and the versions, and states its floor.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in tree.crates() {
        if !tree.has_file(&format!("crates/{name}/Cargo.toml")) {
            findings.push(Finding::file(&format!("crates/{name}"), "has no Cargo.toml"));
        }
    }
    let members = tree.texts(|path| path.ends_with("/Cargo.toml") && !path.starts_with(APART));
    for (path, text) in members {
        match text.parse::<Table>() {
            Ok(manifest) => findings
                .extend(problems(path, &manifest).into_iter().map(|message| Finding::file(path, message))),
            Err(error) => findings.push(Finding::file(path, format!("does not parse: {}", error.message()))),
        }
    }
    findings
}

fn problems(path: &str, manifest: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    let at = |path: &[&str]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(manifest.get(*first)?, |value, key| value.get(*key))
    };
    if at(&["lints", "workspace"]).and_then(toml::Value::as_bool) != Some(true) {
        problems.push("does not inherit the lints: [lints] workspace = true".to_owned());
    }
    if at(&["package", "metadata", "aqueduct", "floor"]).and_then(toml::Value::as_integer).is_none() {
        problems.push("states no floor: [package.metadata.aqueduct] floor = N".to_owned());
    }
    let folder = path.strip_prefix("crates/").and_then(|path| path.strip_suffix("/Cargo.toml"));
    let name = at(&["package", "name"]).and_then(toml::Value::as_str).unwrap_or_default();
    if folder.is_some_and(|folder| folder != name) {
        problems.push(format!("the package is called {name:?} and its folder is not"));
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(kind).and_then(toml::Value::as_table).into_iter().flatten();
        for (name, dependency) in dependencies {
            if dependency.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                problems.push(format!("{kind}.{name} does not take its version from the workspace"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "
        [package]
        name = 'aqueduct-a'
        [package.metadata.aqueduct]
        floor = 2
        [dependencies]
        serde.workspace = true
        tokio = { workspace = true, features = ['time'] }
        [lints]
        workspace = true
    ";

    fn messages(manifest: &str) -> Vec<String> {
        let tree = Tree::of(&[("crates/aqueduct-a/Cargo.toml", manifest)]);
        check(&tree).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_manifest_that_inherits_and_states_its_floor_is_right() {
        assert_eq!(messages(RIGHT), [""; 0]);
    }

    #[test]
    fn lints_of_its_own_are_found() {
        let own = RIGHT.replace(
            "[lints]\n        workspace = true",
            concat!("[lints.rust]\n        unsafe", "_code = 'allow'"),
        );
        assert_eq!(messages(&own), ["does not inherit the lints: [lints] workspace = true"]);
    }

    #[test]
    fn a_missing_floor_is_found() {
        assert_eq!(
            messages(&RIGHT.replace("floor = 2", "")),
            ["states no floor: [package.metadata.aqueduct] floor = N"]
        );
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        assert_eq!(
            messages(&RIGHT.replace("serde.workspace = true", "serde = '1'")),
            ["dependencies.serde does not take its version from the workspace"]
        );
    }

    #[test]
    fn a_name_other_than_the_folder_is_found() {
        assert_eq!(
            messages(&RIGHT.replace("'aqueduct-a'", "'aqueduct-b'")),
            ["the package is called \"aqueduct-b\" and its folder is not"]
        );
    }

    #[test]
    fn the_comparison_with_others_has_its_own_versions() {
        let tree = Tree::of(&[("benches/peers/Cargo.toml", "[dependencies]\nserde = '1'")]);
        assert_eq!(check(&tree), []);
    }
}
