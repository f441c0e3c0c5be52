use serde::Deserialize;

use crate::Result;
use crate::process::{self, Root};

/// The floor of what stands beside the building: it may see every crate and no crate sees it.
const ASIDE: u32 = 99;

/// Dependencies that the floors forbid and a written reason allows: who, and on whom.
const EXCEPTIONS: &[(&str, &str)] = &[
    // The cli starts the server; both are the surface, and the server never sees the cli.
    ("aqueduct-cli", "aqueduct-server"),
];

/// The instruments of the tests: a dev-dependency on any floor, and the cli's, whose `demo` and `chaos` ship it.
const TESTKIT: &str = "aqueduct-testkit";
const TESTKIT_SHIPPED_BY: &str = "aqueduct-cli";

/// Sees no Aqueduct crate, so that the checks run while the crates do not compile.
const XTASK: &str = "xtask";

/// One member of the workspace, as `cargo metadata` tells it.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    metadata: Option<Metadata>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<Kind>,
}

/// The kind of a dependency; a normal one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Build,
    Dev,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    aqueduct: Option<Aqueduct>,
}

#[derive(Debug, Deserialize)]
struct Aqueduct {
    floor: u32,
}

#[derive(Debug, Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

/// Reads the manifests and fails on every dependency that goes sideways or up.
pub(crate) fn run(root: &Root) -> Result {
    let metadata = process::output(&mut root.cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let workspace: Workspace = serde_json::from_slice(&metadata)?;
    let wrong = check(&workspace.packages);
    if wrong.is_empty() {
        println!("    {} packages, every dependency goes down", workspace.packages.len());
        return Ok(());
    }
    Err(format!("dependencies must go down:\n  {}", wrong.join("\n  ")).into())
}

fn check(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    let floor_of = |name: &str| {
        let package = packages.iter().find(|package| package.name == name)?;
        package.metadata.as_ref()?.aqueduct.as_ref().map(|aqueduct| aqueduct.floor)
    };
    for package in packages {
        let Some(floor) = floor_of(&package.name) else {
            wrong.push(format!("{} states no floor in [package.metadata.aqueduct]", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            // Whatever is not a member comes from outside and has no floor. A member without one is named above.
            let Some(below) = floor_of(&dependency.name) else { continue };
            if !allowed((&package.name, floor), (&dependency.name, below), dependency.kind) {
                let way = match below {
                    _ if package.name == XTASK => "and sees no Aqueduct crate",
                    ASIDE => "and nothing sees what stands aside",
                    _ if dependency.name == TESTKIT => "and may only test with it",
                    _ if below == floor => "which goes sideways",
                    _ => "which goes up",
                };
                let kind = match dependency.kind {
                    None => "",
                    Some(Kind::Build) => " to build",
                    Some(Kind::Dev) => " to test",
                };
                wrong.push(format!(
                    "{} (floor {floor}) needs {} (floor {below}){kind}, {way}",
                    package.name, dependency.name
                ));
            }
        }
    }
    wrong
}

fn allowed((name, floor): (&str, u32), (dependency, below): (&str, u32), kind: Option<Kind>) -> bool {
    if name == XTASK {
        return false;
    }
    if dependency == TESTKIT {
        return kind == Some(Kind::Dev) || name == TESTKIT_SHIPPED_BY || floor == ASIDE;
    }
    below < floor || EXCEPTIONS.contains(&(name, dependency))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, floor: u32, dependencies: &[(&str, Option<Kind>)]) -> Package {
        let dependencies =
            dependencies.iter().map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind });
        Package {
            name: name.to_owned(),
            dependencies: dependencies.collect(),
            metadata: Some(Metadata { aqueduct: Some(Aqueduct { floor }) }),
        }
    }

    /// The lower floors, right as they are, and beside them the package under test.
    fn check_beside(tested: Package) -> Vec<String> {
        check(&[
            package("aqueduct-core", 0, &[("serde", None), (TESTKIT, Some(Kind::Dev))]),
            package("aqueduct-metrics", 1, &[("aqueduct-core", None)]),
            package(TESTKIT, 1, &[("aqueduct-core", None)]),
            package("aqueduct-retry", 2, &[("aqueduct-metrics", None), (TESTKIT, Some(Kind::Dev))]),
            package("aqueduct-store", 2, &[("aqueduct-core", None)]),
            package("aqueduct-server", 6, &[("aqueduct-store", None)]),
            package("benches", ASIDE, &[("aqueduct-store", None), (TESTKIT, None)]),
            tested,
        ])
    }

    #[test]
    fn dependencies_that_go_down_are_right() {
        let down = package("aqueduct-stream", 3, &[("aqueduct-retry", None), ("aqueduct-core", None)]);
        assert_eq!(check_beside(down), [""; 0]);
    }

    #[test]
    fn a_dependency_on_the_same_floor_is_refused() {
        let sideways = package("aqueduct-queue", 2, &[("aqueduct-store", None)]);
        assert_eq!(
            check_beside(sideways),
            ["aqueduct-queue (floor 2) needs aqueduct-store (floor 2), which goes sideways"]
        );
    }

    #[test]
    fn a_dependency_on_a_higher_floor_is_refused_in_every_kind() {
        for (kind, word) in [(None, ""), (Some(Kind::Dev), " to test"), (Some(Kind::Build), " to build")] {
            let upward = package("aqueduct-queue", 2, &[("aqueduct-server", kind)]);
            assert_eq!(
                check_beside(upward),
                [format!("aqueduct-queue (floor 2) needs aqueduct-server (floor 6){word}, which goes up")]
            );
        }
    }

    #[test]
    fn the_testkit_is_for_tests_and_for_the_cli() {
        assert_eq!(check_beside(package("aqueduct-cli", 6, &[(TESTKIT, None)])), [""; 0]);
        assert_eq!(
            check_beside(package("aqueduct-stream", 3, &[(TESTKIT, None)])),
            ["aqueduct-stream (floor 3) needs aqueduct-testkit (floor 1), and may only test with it"]
        );
    }

    #[test]
    fn the_cli_may_start_the_server_and_not_the_other_way() {
        assert_eq!(check_beside(package("aqueduct-cli", 6, &[("aqueduct-server", None)])), [""; 0]);
    }

    #[test]
    fn xtask_sees_no_crate_and_nothing_sees_the_benches() {
        assert_eq!(
            check_beside(package(XTASK, ASIDE, &[("aqueduct-core", None)])),
            ["xtask (floor 99) needs aqueduct-core (floor 0), and sees no Aqueduct crate"]
        );
        assert_eq!(
            check_beside(package("aqueduct-cli", 6, &[("benches", Some(Kind::Dev))])),
            ["aqueduct-cli (floor 6) needs benches (floor 99) to test, and nothing sees what stands aside"]
        );
    }

    #[test]
    fn a_package_without_a_floor_is_named() {
        let mut nowhere = package("aqueduct-queue", 2, &[]);
        nowhere.metadata = None;
        assert_eq!(check_beside(nowhere), ["aqueduct-queue states no floor in [package.metadata.aqueduct]"]);
    }
}
