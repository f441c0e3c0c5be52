use std::collections::BTreeSet;

use super::{Finding, Tree};

/// Links inside the repository lead somewhere: to a file, a folder, or a heading.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(|path| path.ends_with(".md")) {
        for (line, target) in links(text) {
            if let Some(message) = problem(tree, path, target) {
                findings.push(Finding::line(path, line, message));
            }
        }
    }
    findings
}

fn problem(tree: &Tree, page: &str, target: &str) -> Option<String> {
    // What has a scheme leads outside, and only a reader can tell whether it is still there.
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => page.to_owned(),
        file => match resolve(page, file) {
            Some(file) => file,
            None => return Some(format!("{target} leads out of the repository")),
        },
    };
    if !tree.has_file(&file) && !tree.has_folder(&file) {
        return Some(format!("{target} leads nowhere: there is no {file}"));
    }
    if anchor.is_empty() {
        return None;
    }
    match tree.text(&file) {
        Some(text) if file.ends_with(".md") => {
            (!anchors(text).contains(anchor)).then(|| format!("{file} has no heading #{anchor}"))
        }
        _ => Some(format!("{target} names a place in a file that is no page")),
    }
}

/// The path from the root that a link on `page` means, and nothing when it leaves the root.
fn resolve(page: &str, link: &str) -> Option<String> {
    if link.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The targets of `[text](target)` and `[name]: target` outside of code, with their lines counted from 1.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        if line.starts_with('[')
            && let Some((_, target)) = line.split_once("]:")
        {
            found.extend(target.split_whitespace().next().map(|target| (number, target)));
        }
        for (at, _) in line.match_indices("](") {
            let is_code = line[..at].matches('`').count() % 2 == 1;
            let Some((target, _)) = line[at + 2..].split_once(')') else { continue };
            let target = target.split_whitespace().next().unwrap_or_default();
            if !is_code {
                found.push((number, target.trim_start_matches('<').trim_end_matches('>')));
            }
        }
    }
    found
}

/// The anchors that a page offers: its headings, and names set by hand.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() < line.len() && title.starts_with(' ') {
            let slug = slug(title.trim());
            // A heading that stands twice gets a number from its second time on.
            let again = (1..).map(|count| format!("{slug}-{count}"));
            let free = std::iter::once(slug.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
            anchors.extend(free);
        }
        for mark in ["id=\"", "name=\""] {
            let named = line.split(mark).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
            anchors.extend(named);
        }
    }
    anchors
}

/// As GitHub does it: lower case, blanks become hyphens, and only letters, digits, `-` and `_` stay.
fn slug(title: &str) -> String {
    let title: String = match title.contains("](") {
        // The text of a link counts and its target does not.
        true => title.split("](").map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect(),
        false => title.to_owned(),
    };
    let kept = title.to_lowercase();
    kept.chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
            _ => None,
        })
        .collect()
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_page(text: &str, expected: &[&str]) {
        let tree = Tree::of(&[
            ("docs/page.md", text),
            (
                "docs/other.md",
                "# Other page\n\n## Twice\n\n## Twice\n\n## `code` & signs!\n<a id=\"set\"></a>\n",
            ),
            ("docs/guides/first.md", ""),
            ("README.md", ""),
        ]);
        let messages: Vec<_> = check(&tree).into_iter().map(|finding| finding.message).collect();
        assert_eq!(messages, expected, "{text}");
    }

    #[test]
    fn a_link_to_a_file_a_folder_or_a_heading_is_right() {
        check_page("[a](other.md) [b](guides) [c](guides/) [d](../README.md) [e](./other.md)", &[]);
        check_page("[a](other.md#other-page) [b](other.md#twice-1) [c](other.md#code--signs)", &[]);
        check_page("[a](other.md#set)\n\n[b]: other.md\n", &[]);
        check_page("# Here\n[a](#here) ![picture](other.md \"title\")", &[]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        check_page("[a](gone.md)", &["gone.md leads nowhere: there is no docs/gone.md"]);
        check_page("[a]: gone.md", &["gone.md leads nowhere: there is no docs/gone.md"]);
        check_page("[a](other.md#gone)", &["docs/other.md has no heading #gone"]);
        check_page("[a](other.md#twice-2)", &["docs/other.md has no heading #twice-2"]);
        check_page("[a](#gone)", &["docs/page.md has no heading #gone"]);
        check_page("[a](../../x.md)", &["../../x.md leads out of the repository"]);
        check_page("[a](/README.md)", &["/README.md leads out of the repository"]);
    }

    #[test]
    fn links_outside_and_links_in_code_are_left_alone() {
        check_page("[a](https://example.org/gone) [b](mailto:a@example.org)", &[]);
        check_page("`[a](gone.md)`\n```\n[a](gone.md)\n```\n", &[]);
    }
}
