//! A summary as a model that is not one makes it: the first sentences. The same text gives the same summary.

/// As many as a person reads in one look.
const SENTENCES: usize = 3;
/// A text without a full stop is cut here.
const CHARS_MAX: usize = 600;

/// Fewer words are a heading or a slogan, where there are sentences.
const WORDS_MIN: usize = 5;

/// Gives what the models of a backend make of a text: its first three sentences of five words or more, and where there is
/// none, its beginning; 600 letters at most, with single spaces. For who checks results.
#[must_use]
pub fn summary(text: &str) -> String {
    let mut summary = String::new();
    let mut sentence: Vec<&str> = Vec::new();
    let mut sentences = 0;
    for word in text.split_whitespace() {
        sentence.push(word);
        let ends =
            word.ends_with(['!', '?']) || word.strip_suffix('.').is_some_and(|last| !is_abbreviation(last));
        if ends {
            if sentence.len() >= WORDS_MIN {
                join(&mut summary, &sentence);
                sentences += 1;
            }
            sentence.clear();
        }
        if sentences == SENTENCES || summary.len() >= CHARS_MAX {
            break;
        }
    }
    if sentences == 0 {
        // A word has a letter at least, so this is more than enough of them.
        let words: Vec<&str> = text.split_whitespace().take(CHARS_MAX).collect();
        join(&mut summary, &words);
    }
    cut(&summary, CHARS_MAX).to_owned()
}

fn join(summary: &mut String, words: &[&str]) {
    for word in words {
        if !summary.is_empty() {
            summary.push(' ');
        }
        summary.push_str(word);
    }
}

/// Tells whether a full stop behind a word is its own: `e.g`, `U.S`, `Dr`.
fn is_abbreviation(word: &str) -> bool {
    word.contains('.') || (word.len() <= 2 && word.starts_with(char::is_uppercase))
}

/// At most so many letters of a text.
pub(super) fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// Four letters a token, the rule of thumb that OpenAI gives for English.
pub(super) const CHARS_PER_TOKEN: usize = 4;

pub(super) fn tokens(text: &str) -> u64 {
    text.chars().count().div_ceil(CHARS_PER_TOKEN) as u64
}

/// The text of a page: what stands between its tags, without scripts and styles. Good enough for pages that a test writes
/// or an example ships; no parser of HTML.
pub(super) fn text_of(html: &str) -> String {
    let mut text = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let skipped = ["script", "style", "head"].into_iter().find(|name| is_tag(tag, name));
        let end = match skipped {
            Some(name) => find_ignoring_case(tag, &format!("</{name}")).unwrap_or(tag.len()),
            None => 0,
        };
        let tag = tag.get(end..).unwrap_or_default();
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        .into_iter()
        .fold(text, |text, (coded, plain)| text.replace(coded, plain))
}

fn is_tag(tag: &str, name: &str) -> bool {
    tag.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        && tag.as_bytes().get(name.len()).is_some_and(|next| !next.is_ascii_alphanumeric())
}

fn find_ignoring_case(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_first_three_sentences() {
        let text = "A slogan. Here is the  first one.\nThe second names e.g. Dr. No!\n\nIs that all of three? A fourth is left out.";
        assert_eq!(
            summary(text),
            "Here is the first one. The second names e.g. Dr. No! Is that all of three?"
        );
        assert_eq!(summary("Short. And  short."), "Short. And short.");
        assert_eq!(summary(&"word ".repeat(1_000)).chars().count(), 600);
        assert_eq!(summary(""), "");
    }

    #[test]
    fn a_page_is_read_without_its_tags_scripts_and_head() {
        let html = "<html><HEAD><title>No</title></HEAD><body><header>A</header><script>if (a < b) {}</script>\
                    <p>B &amp; &lt;C&gt;</p><style>p {}</style>";
        let text: Vec<String> = text_of(html).split_whitespace().map(str::to_owned).collect();
        assert_eq!(text, ["A", "B", "&", "<C>"]);
    }
}
