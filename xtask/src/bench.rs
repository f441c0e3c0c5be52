use crate::Result;
use crate::process::{self, Root};

/// The manifest, and not the package name, so that the folder alone says what a bench is.
pub(crate) const MANIFEST: &str = "benches/Cargo.toml";

/// The comparison with other crates, a workspace of its own.
pub(crate) const PEERS: &str = "benches/peers/Cargo.toml";

/// Runs every bench, or the one that is named.
pub(crate) fn run(root: &Root, name: Option<&str>) -> Result {
    let mut command = root.cargo(&["bench", "--quiet", "--manifest-path", MANIFEST]);
    if let Some(name) = name {
        command.args(["--bench", name]);
    }
    process::run(&mut command)
}
