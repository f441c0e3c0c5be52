use super::{Finding, Tree};

/// Paths of one person's machine, which mean nothing to the next. In halves, so that this file passes.
const PRIVATE: &[&str] = &[concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("bash", "_jobs")];

/// Records that were collected elsewhere quote whatever their authors wrote.
const DATA: &[&str] = &[".jsonl", ".csv"];

/// No file names the machine it was written on.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(|path| !DATA.iter().any(|ending| path.ends_with(ending))) {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(private) = PRIVATE.iter().find(|private| line.contains(**private)) {
                findings.push(Finding::line(path, number, format!("{private} is a path of one machine")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found_and_data_is_not_read() {
        for private in PRIVATE {
            let line = format!("a\nsee {private}b");
            let tree = Tree::of(&[("a.md", &line), ("a.jsonl", &line), ("b.rs", "clockwork/a")]);
            assert_eq!(Finding::places(&check(&tree)), ["a.md:2"]);
        }
    }
}
