//! The keys of the stage `model`.

use super::{Absent, CALLS, DRAW, HTTP_IN_FLIGHT, JOURNAL, KEEP, Key, Kind, Section, key};
use crate::settings::defaults;

pub(in crate::file) const SHAPE: Key = key(
    "shape",
    Kind::Choice(&["chat-completions", "generate-content"]),
    Absent::Required,
    "how the model is asked: chat-completions, as OpenAI and all that imitate it have it; generate-content, as Gemini has \
     it, which can read URLs",
);
pub(in crate::file) const MODEL: Key = key("model", Kind::Text, Absent::Required, "the name of the model");
pub(in crate::file) const MODEL_URL: Key = key(
    "url",
    Kind::Text,
    Absent::Words("the service that made the shape, or the `endpoints` of the backend"),
    "the service, without the path of its shape: `http://localhost:11434`",
);
pub(in crate::file) const MODEL_KEY: Key = key(
    "key",
    Kind::Text,
    Absent::Words("no key is sent"),
    "the key of the service, best as a reference such as `${env:GEMINI_API_KEY}`",
);
pub(in crate::file) const PROMPT: Key =
    key("prompt", Kind::Expression, Absent::Required, "an expression that gives what the model is asked");
pub(in crate::file) const MODEL_TEXT: Key = key(
    "text",
    Kind::Expression,
    Absent::Words("nothing"),
    "an expression that gives the text that is put behind the prompt; with `read_url` only where the model could not read \
     the page",
);
pub(in crate::file) const TEXT_CHARS_MAX: Key = key(
    "text_chars_max",
    Kind::Integer(1, 100_000_000),
    Absent::Integer(defaults::TEXT_CHARS_MAX),
    "the most letters of the text; the rest is cut off",
);
pub(in crate::file) const READ_URL: Key = key(
    "read_url",
    Kind::Expression,
    Absent::Words("the model reads no page"),
    "an expression that gives a URL which the model reads by itself. When it cannot, it is given `text`, or the page is \
     fetched from `pages` and its text given",
);
pub(in crate::file) const PAGES: Key = key(
    "pages",
    Kind::Name,
    Absent::Words("pages are not fetched"),
    "the `[[backend]]` that pages are fetched from which the model could not read",
);
pub(in crate::file) const MODEL_INTO: Key =
    key("into", Kind::Field, Absent::Text("answer"), "the field of the answer");
pub(in crate::file) const TOKENS_INTO: Key = key(
    "tokens_into",
    Kind::Field,
    Absent::Text("tokens"),
    "the field of the tokens of request and answer, as the service counts them",
);
pub(in crate::file) const ANSWER_TOKENS_MAX: Key = key(
    "answer_tokens_max",
    Kind::Integer(1, 1_000_000),
    Absent::Words("as the service has it"),
    "the longest answer in tokens",
);
pub(in crate::file) const TEMPERATURE: Key = key(
    "temperature",
    Kind::Number(0.0, 2.0),
    Absent::Words("as the service has it"),
    "how much of the answer is left to chance",
);
pub(in crate::file) const DRAW_TOKENS: Key = key(
    "draw_tokens",
    Kind::Name,
    Absent::Words("no budget"),
    "the allowance of `[budget]` that the tokens of each answer draw on. They are known only afterwards, so answers under \
     way may go over it; when it is used up the run ends, with everything committed",
);

pub(in crate::file) const MODEL_STAGE: Section = Section {
    heading: "[[stage]]",
    of_type: Some("model"),
    keys: &[
        CALLS,
        SHAPE,
        MODEL,
        MODEL_URL,
        MODEL_KEY,
        PROMPT,
        MODEL_TEXT,
        TEXT_CHARS_MAX,
        READ_URL,
        PAGES,
        MODEL_INTO,
        TOKENS_INTO,
        KEEP,
        ANSWER_TOKENS_MAX,
        TEMPERATURE,
        JOURNAL,
        DRAW,
        DRAW_TOKENS,
        HTTP_IN_FLIGHT,
    ],
};
