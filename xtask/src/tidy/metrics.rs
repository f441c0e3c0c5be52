use std::collections::BTreeSet;

use super::{Finding, Tree, rust};

const TABLE: &str = "docs/reference/metrics.md";

/// A crate names its metrics in one file, and the reference lists exactly those.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let listed: Option<BTreeSet<&str>> = tree.text(TABLE).map(|text| {
        // Between back quotes stands every second piece.
        text.lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .filter(|name| is_metric(name))
            .collect()
    });
    let mut named = BTreeSet::new();
    for (path, text) in tree.texts(is_library_source) {
        for literal in rust::literals(text).into_iter().filter(|literal| is_metric(literal.text)) {
            let name = literal.text;
            if !path.ends_with("/src/metrics.rs") {
                let message = format!("{name} is named outside its crate's src/metrics.rs");
                findings.push(Finding::line(path, literal.line, message));
            } else if listed.as_ref().is_some_and(|listed| !listed.contains(name)) {
                findings.push(Finding::line(path, literal.line, format!("{TABLE} does not list {name}")));
            }
            named.insert(name);
        }
    }
    for name in listed.iter().flatten().filter(|name| !named.contains(*name)) {
        findings.push(Finding::file(TABLE, format!("lists {name}, which no crate emits")));
    }
    findings
}

/// `aqueduct_<component>_<thing>`, and so on; `aqueduct_core` alone is the name of a crate.
fn is_metric(text: &str) -> bool {
    let mut parts = text.split('_');
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    parts.next() == Some("aqueduct") && parts.clone().count() >= 2 && parts.all(is_part)
}

/// Tests and benches read metrics by name; only the code that ships declares them.
fn is_library_source(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && path.ends_with(".rs")
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: (&str, &str) =
        ("crates/aqueduct-a/src/metrics.rs", "const A: &str = \"aqueduct_a_items_total\";\n");

    #[test]
    fn a_metric_named_elsewhere_is_found() {
        let tree = Tree::of(&[
            METRICS,
            ("crates/aqueduct-a/src/b.rs", "use aqueduct_core::X;\nf(\"aqueduct_a_items_total\");"),
            ("crates/aqueduct-a/src/c.rs", "f(\"aqueduct_core\"); // \"aqueduct_a_items_total\""),
            ("crates/aqueduct-a/tests/it/main.rs", "f(\"aqueduct_a_items_total\");"),
        ]);
        assert_eq!(Finding::places(&check(&tree)), ["crates/aqueduct-a/src/b.rs:2"]);
    }

    #[test]
    fn the_reference_lists_what_is_emitted_and_nothing_else() {
        let page = |text| Finding::places(&check(&Tree::of(&[METRICS, (TABLE, text)])));
        assert_eq!(page("| `aqueduct_a_items_total` | items |"), [""; 0]);
        assert_eq!(page("# Metrics"), ["crates/aqueduct-a/src/metrics.rs:1"]);
        assert_eq!(
            page("| `aqueduct_a_items_total` | like `aqueduct_a_old_total` |"),
            ["docs/reference/metrics.md:0"]
        );
    }
}
