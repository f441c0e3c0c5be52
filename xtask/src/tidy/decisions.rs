use std::collections::BTreeMap;

use super::{Finding, Tree};

/// A decision is a page `NNNN-title.md`, and its number is its own.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers = BTreeMap::new();
    for path in tree.0.keys() {
        let Some(name) = path.strip_prefix("docs/decisions/").filter(|name| *name != "README.md") else {
            continue;
        };
        let Some(number) = number(name) else {
            findings.push(Finding::file(path, "a decision is called NNNN-title.md"));
            continue;
        };
        if let Some(earlier) = numbers.insert(number, path) {
            findings.push(Finding::file(path, format!("has the number of {earlier}")));
        }
    }
    findings
}

fn number(name: &str) -> Option<&str> {
    let (number, title) = name.strip_suffix(".md")?.split_once('-')?;
    let is_title = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let right = number.len() == 4
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !title.is_empty()
        && title.bytes().all(is_title);
    right.then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_used_twice_and_a_name_of_another_form_are_found() {
        let tree = Tree::of(&[
            ("docs/decisions/0001-the-commit.md", ""),
            ("docs/decisions/0002-one.md", ""),
            ("docs/decisions/0002-two.md", ""),
            ("docs/decisions/3-three.md", ""),
            ("docs/decisions/README.md", ""),
        ]);
        assert_eq!(
            Finding::places(&check(&tree)),
            ["docs/decisions/0002-two.md:0", "docs/decisions/3-three.md:0"]
        );
    }
}
