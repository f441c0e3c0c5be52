//! The text of a page, as a person would read it out.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

/// Elements that hold no text of the page: programs, styles, and what stands on every page of a site. All of them have
/// end tags that may not be left out.
const SILENT: [&[u8]; 14] = [
    b"script",
    b"style",
    b"noscript",
    b"template",
    b"svg",
    b"math",
    b"iframe",
    b"object",
    b"nav",
    b"footer",
    b"aside",
    b"form",
    b"button",
    b"select",
];

/// Elements in the flow of a line; all others end it.
const INLINE: [&[u8]; 27] = [
    b"a", b"abbr", b"b", b"bdi", b"bdo", b"cite", b"code", b"data", b"dfn", b"em", b"font", b"i", b"kbd",
    b"label", b"mark", b"q", b"s", b"samp", b"small", b"span", b"strong", b"sub", b"sup", b"time", b"u",
    b"var", b"wbr",
];

/// Gives the text of an HTML page: no tags, programs, styles, navigation and forms, one line for each block, white space
/// collapsed. What is no HTML is text already and stays, its white space aside.
///
/// The page is taken apart as the HTML standard says (WHATWG, section 13.2.5), so nothing that is sent can break it;
/// elements are not put into each other's places, as browsers do with wrong pages.
///
/// # Complexity
///
/// Linear in the length of the page.
#[must_use]
pub fn html_text(html: &str) -> String {
    let mut emitter = DefaultEmitter::default();
    // Without it the programs in a page would be taken for its text.
    emitter.naively_switch_states(true);
    let mut text = Text { text: String::with_capacity(html.len() / 4), ends_word: false, ends_line: false };
    let mut silent: Option<(Vec<u8>, u32)> = None;
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        match (token, &mut silent) {
            (Token::StartTag(tag), Some((name, depth))) if *tag.name == *name && !tag.self_closing => {
                *depth += 1
            }
            (Token::EndTag(tag), Some((name, depth))) if *tag.name == *name => {
                *depth -= 1;
                if *depth == 0 {
                    silent = None;
                    text.ends_line = true;
                }
            }
            (_, Some(_)) => {}
            (Token::StartTag(tag), None) => {
                if SILENT.contains(&&**tag.name) && !tag.self_closing {
                    silent = Some((tag.name.to_vec(), 1));
                }
                text.element(&tag.name);
            }
            (Token::EndTag(tag), None) => text.element(&tag.name),
            (Token::String(words), None) => text.push(&String::from_utf8_lossy(&words)),
            (Token::Comment(_) | Token::Doctype(_) | Token::Error(_), None) => {}
        }
    }
    text.text
}

/// A text in the making.
struct Text {
    text: String,
    /// The next word stands apart from the last one.
    ends_word: bool,
    /// The next word stands on a line of its own.
    ends_line: bool,
}

impl Text {
    fn element(&mut self, name: &[u8]) {
        match name {
            // Cells of one row are read in one line.
            b"td" | b"th" => self.ends_word = true,
            name if INLINE.contains(&name) => {}
            _ => self.ends_line = true,
        }
    }

    fn push(&mut self, words: &str) {
        self.ends_word |= words.starts_with(char::is_whitespace);
        for word in words.split_whitespace() {
            if !self.text.is_empty() {
                if self.ends_line {
                    self.text.push('\n');
                } else if self.ends_word {
                    self.text.push(' ');
                }
            }
            self.text.push_str(word);
            (self.ends_word, self.ends_line) = (true, false);
        }
        self.ends_word = words.ends_with(char::is_whitespace) || (self.ends_word && words.trim().is_empty());
    }
}
