use super::{Finding, Tree};

/// Where each use of `unsafe` says what for and how it is held to be sound.
const PAGE: &str = "docs/internals/unsafe.md";

/// Wherever it stands in code it is lifted or may be. Written in two halves, so that this file does not report itself.
const LINT: &str = concat!("unsafe", "_code");

/// The lint that denies `unsafe` is lifted in one module of a crate at most, and the page names each of them.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let page = tree.texts(|path| path == PAGE).next().map_or("", |(_, text)| text);
    let mut lifted: Vec<&str> = Vec::new();
    for (path, text) in tree.texts(|path| path.ends_with(".rs")) {
        let Some(line) = (1..).zip(text.lines()).find(|(_, line)| line.contains(LINT)).map(|(line, _)| line)
        else {
            continue;
        };
        if !page.contains(&format!("`{path}`")) {
            findings.push(Finding::line(path, line, format!("lifts {LINT}, and {PAGE} does not name it")));
        }
        let crate_of = |path: &'_ str| path.split_once("/src/").map(|(folder, _)| folder.to_owned());
        if let Some(other) = lifted.iter().find(|other| crate_of(other) == crate_of(path)) {
            findings.push(Finding::line(path, line, format!("lifts {LINT} in a crate where {other} does")));
        }
        lifted.push(path);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFTED: &str = concat!("#![expect(unsafe", "_code)]");

    fn places(files: &[(&str, &str)]) -> Vec<String> {
        Finding::places(&check(&Tree::of(files)))
    }

    #[test]
    fn a_module_that_the_page_does_not_name_is_found() {
        assert_eq!(places(&[("crates/a/src/lock.rs", LIFTED)]), ["crates/a/src/lock.rs:1"]);
        assert_eq!(places(&[("crates/a/src/lock.rs", LIFTED), (PAGE, "`crates/a/src/lock.rs`")]), [""; 0]);
    }

    #[test]
    fn it_is_found_among_other_lints_and_on_a_line_of_its_own() {
        let among = concat!("#![expect(clippy::all, unsafe", "_code)]");
        assert_eq!(places(&[("crates/a/src/lock.rs", among)]), ["crates/a/src/lock.rs:1"]);
        let alone = concat!("#![expect(\n    unsafe", "_code,\n)]");
        assert_eq!(places(&[("crates/a/src/lock.rs", alone)]), ["crates/a/src/lock.rs:2"]);
    }

    #[test]
    fn a_second_module_of_a_crate_is_found() {
        let page = "`crates/a/src/lock.rs`, `crates/a/src/more.rs`, `crates/b/src/lock.rs`";
        let one = [("crates/a/src/lock.rs", LIFTED), ("crates/b/src/lock.rs", LIFTED), (PAGE, page)];
        assert_eq!(places(&one), [""; 0]);
        let two = [("crates/a/src/lock.rs", LIFTED), ("crates/a/src/more.rs", LIFTED), (PAGE, page)];
        assert_eq!(places(&two), ["crates/a/src/more.rs:1"]);
    }
}
