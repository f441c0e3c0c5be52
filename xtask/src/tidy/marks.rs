use super::{Finding, Tree};

/// Written in two halves, so that this file does not report itself.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];
const UNFINISHED: &[&str] = &[concat!("to", "do!"), concat!("unimple", "mented!")];

/// A promise names the issue or the decision that holds it, and unfinished code is not kept.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.texts(is_written_by_hand) {
        for (number, line) in (1..).zip(text.lines()) {
            for mark in MARKS {
                if words(line, mark).any(|after| !has_reference(after)) {
                    findings.push(Finding::line(
                        path,
                        number,
                        format!("write {mark}(#12) or {mark}(decision 0003), or do it now"),
                    ));
                }
            }
            let code = line.split("//").next().unwrap_or_default();
            if let Some(macro_name) = UNFINISHED.iter().find(|name| words(code, name).next().is_some())
                && path.ends_with(".rs")
            {
                findings.push(Finding::line(path, number, format!("{macro_name} is unfinished code")));
            }
        }
    }
    findings
}

/// Data may hold any word.
fn is_written_by_hand(path: &str) -> bool {
    [".rs", ".toml", ".md", ".sh", ".sql", ".yml", ".yaml", ".html", ".js", ".css"]
        .iter()
        .any(|ending| path.ends_with(ending))
        || path.starts_with(".ci/")
}

/// What stands after each occurrence of `word` as a word of its own.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let after = &line[at + word.len()..];
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        let alone = !line[..at].ends_with(is_name) && !after.starts_with(is_name);
        alone.then_some(after)
    })
}

fn has_reference(after: &str) -> bool {
    let Some((inside, _)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) else {
        return false;
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    inside.strip_prefix('#').is_some_and(is_number)
        || inside.strip_prefix("decision ").is_some_and(|number| number.len() == 4 && is_number(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(path: &str, text: &str) -> Vec<String> {
        Finding::places(&check(&Tree::of(&[(path, text)])))
    }

    #[test]
    fn a_promise_without_a_number_is_found() {
        for mark in MARKS {
            assert_eq!(places("a.rs", &format!("\n// {mark}: later\n")), ["a.rs:2"]);
            assert_eq!(places("a.md", &format!("{mark}(soon)")), ["a.md:1"]);
            assert_eq!(places("a.rs", &format!("// {mark}(decision 3)")), ["a.rs:1"]);
        }
    }

    #[test]
    fn a_promise_with_a_number_is_right() {
        for mark in MARKS {
            assert_eq!(places("a.rs", &format!("// {mark}(#12): later")), [""; 0]);
            assert_eq!(places("a.rs", &format!("// {mark}(decision 0003): later")), [""; 0]);
        }
    }

    #[test]
    fn part_of_another_word_and_data_are_right() {
        assert_eq!(places("a.rs", concat!("let NO_TO", "DO = 1;")), [""; 0]);
        assert_eq!(places("a.jsonl", MARKS[0]), [""; 0]);
    }

    #[test]
    fn unfinished_code_is_found() {
        for name in UNFINISHED {
            assert_eq!(places("a.rs", &format!("fn f() {{ {name}() }}")), ["a.rs:1"]);
            assert_eq!(places("a.rs", &format!("// no {name} here")), [""; 0]);
        }
    }
}
