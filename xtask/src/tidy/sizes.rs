use super::{Finding, Tree};

/// A clone carries every version of every file for ever, so 1 MiB is already much.
const BYTES_MAX: u64 = 1024 * 1024;

/// What may be larger, where it stands and up to which size.
const LARGER: &[(&str, u64)] = &[
    // The real advisories of the quick start: a user's clone must hold the input of the main example.
    ("examples/evidence/", 6 * 1024 * 1024),
    // The recorded requests on which every cache is measured: a piece of one is another trace with other figures.
    ("benches/data/traces/", 2 * 1024 * 1024),
];

/// Large files are a choice that somebody wrote down.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in &tree.0 {
        let allowed =
            LARGER.iter().find(|(folder, _)| path.starts_with(folder)).map_or(BYTES_MAX, |(_, max)| *max);
        if file.bytes > allowed {
            let message = format!("{} bytes are more than the {allowed} that tidy allows here", file.bytes);
            findings.push(Finding::file(path, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    #[test]
    fn a_large_file_is_found_unless_its_place_is_listed() {
        let mut tree = Tree::default();
        for (path, bytes) in [
            ("a.bin", BYTES_MAX + 1),
            ("b.bin", BYTES_MAX),
            ("examples/evidence/input.jsonl", BYTES_MAX + 1),
            ("examples/evidence/output.jsonl", 7 * BYTES_MAX),
        ] {
            tree.0.insert(path.to_owned(), File { bytes, text: None });
        }
        assert_eq!(Finding::places(&check(&tree)), ["a.bin:0", "examples/evidence/output.jsonl:0"]);
    }
}
