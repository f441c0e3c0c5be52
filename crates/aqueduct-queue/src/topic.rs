//! What a message is about, and who wants to hear of it.

use std::fmt;

use aqueduct_core::ConfigError;

/// What a message is about: words with points in between, such as `orders.eu.paid`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Box<str>);

impl Topic {
    /// The longest topic or pattern, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Checks a topic.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where it is empty or too long, has an empty word, white space, `*` or `>`.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let text = text.into();
        let plain = |word: &str| !word.is_empty() && !word.contains(['*', '>']) && !has_space(word);
        if text.len() > Self::BYTES_MAX || !text.split('.').all(plain) {
            let allowed = "words with points in between, such as orders.eu.paid, without white space, * and >, \
                           of at most 255 bytes";
            return Err(ConfigError::new("topic", format_args!("{text:?}"), allowed));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which topics a group takes. `*` stands for one word, and `>` at the end for one or more, as in NATS;
/// `>` alone takes everything, messages without a topic among them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Takes everything.
    #[must_use]
    pub fn all() -> Self {
        Self(">".into())
    }

    /// Checks a pattern.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] where it is empty or too long, has an empty word or white space, `*` beside other characters,
    /// or `>` elsewhere than as the last word.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, ConfigError> {
        let text = text.into();
        let last = text.split('.').count() - 1;
        let fits = |(index, word): (usize, &str)| match word {
            "*" => true,
            ">" => index == last,
            word => !word.is_empty() && !word.contains(['*', '>']) && !has_space(word),
        };
        if text.len() > Topic::BYTES_MAX || !text.split('.').enumerate().all(fits) {
            let allowed = "words with points in between, of which * stands for one and > at the end for the rest, \
                           such as orders.*.paid or orders.>, of at most 255 bytes";
            return Err(ConfigError::new("pattern", format_args!("{text:?}"), allowed));
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether a message of this topic is for the group. Linear in the words.
    #[must_use]
    pub fn matches(&self, topic: Option<&Topic>) -> bool {
        let Some(topic) = topic else { return &*self.0 == ">" };
        let mut words = topic.0.split('.');
        for wanted in self.0.split('.') {
            match (wanted, words.next()) {
                (">", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(word)) if wanted == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn has_space(word: &str) -> bool {
    word.chars().any(|character| character.is_whitespace() || character.is_control())
}
