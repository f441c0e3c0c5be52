//! The parts as somebody finds them who uses one and nothing else of ours.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::Result;
use crate::process::{self, Root};

/// The highest floor whose crates people use alone; what stands above puts a pipeline together from them.
const FLOOR_MAX: u32 = 4;

/// What a package may hold.
const BELONGS: &[&str] =
    &["Cargo.lock", "Cargo.toml", "Cargo.toml.orig", ".cargo_vcs_info.json", "src/", "tests/", "examples/"];

#[derive(Debug, Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    features: BTreeMap<String, Vec<String>>,
    pub(crate) targets: Vec<Target>,
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    #[serde(rename = "required-features", default)]
    pub(crate) required_features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    aqueduct: Option<Aqueduct>,
}

#[derive(Debug, Deserialize)]
struct Aqueduct {
    floor: u32,
}

/// Builds each part with no feature, with each, and with all, and fails on a file that does not belong into its package.
pub(crate) fn run(root: &Root) -> Result {
    for package in parts(root)? {
        for features in choices(package.features.keys().map(String::as_str)) {
            let mut command =
                root.cargo(&["check", "--quiet", "--package", &package.name, "--no-default-features"]);
            process::run(command.args(&features))?;
        }
        let list =
            root.cargo(&["package", "--list", "--allow-dirty", "--package", &package.name]).output()?;
        if !list.status.success() {
            return Err(format!(
                "{} cannot be packed: {}",
                package.name,
                String::from_utf8_lossy(&list.stderr)
            )
            .into());
        }
        if let Some(strange) = strange(&String::from_utf8_lossy(&list.stdout)) {
            return Err(format!(
                "the package {} holds {strange}, which does not belong into it",
                package.name
            )
            .into());
        }
    }
    Ok(())
}

/// The crates of the lower floors.
pub(crate) fn parts(root: &Root) -> Result<Vec<Package>> {
    let metadata = process::output(&mut root.cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let workspace: Workspace = serde_json::from_slice(&metadata)?;
    let floor = |package: &Package| Some(package.metadata.as_ref()?.aqueduct.as_ref()?.floor);
    Ok(workspace
        .packages
        .into_iter()
        .filter(|package| floor(package).is_some_and(|floor| floor <= FLOOR_MAX))
        .collect())
}

/// The arguments of each choice of features: none, each alone, and all where that is another choice.
fn choices<'a>(features: impl Iterator<Item = &'a str>) -> Vec<Vec<String>> {
    let features: Vec<_> = features.filter(|name| *name != "default").collect();
    let mut choices = vec![Vec::new()];
    choices.extend(features.iter().map(|name| vec!["--features".to_owned(), (*name).to_owned()]));
    if features.len() > 1 {
        choices.push(vec!["--all-features".to_owned()]);
    }
    choices
}

fn strange(list: &str) -> Option<&str> {
    let belongs = |path: &str| {
        BELONGS.iter().any(|known| path == *known || (known.ends_with('/') && path.starts_with(known)))
    };
    // A package made on Windows has its own separators.
    list.lines().find(|path| !belongs(&path.replace('\\', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_of_features_is_there_once() {
        let said = |features: &[&str]| -> Vec<String> {
            choices(features.iter().copied()).into_iter().map(|choice| choice.join(" ")).collect()
        };
        assert_eq!(said(&[]), [""]);
        assert_eq!(said(&["default", "tower"]), ["", "--features tower"]);
        assert_eq!(said(&["redis", "tower"]), ["", "--features redis", "--features tower", "--all-features"]);
    }

    #[test]
    fn a_file_that_does_not_belong_is_named() {
        assert_eq!(strange("Cargo.toml\nsrc/lib.rs\ntests/it/main.rs"), None);
        assert_eq!(strange("Cargo.toml\nnotes.txt\nsrc/lib.rs"), Some("notes.txt"));
        assert_eq!(strange("Cargo.toml\nsrc.bak/lib.rs"), Some("src.bak/lib.rs"));
    }
}
