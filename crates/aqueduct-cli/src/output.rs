//! Data to standard output, messages to standard error.

use std::error::Error;
use std::io::{self, Write};
use std::sync::OnceLock;

use serde::Serialize;

use crate::flags::Format;

/// The first error with which data could not be written.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes data. A reader that went away (`| head`) is not an error; any other failure is for [`lost`].
pub(crate) fn data(text: &str) {
    keep(io::stdout().lock().write_all(text.as_bytes()));
}

/// Writes one line of data.
pub(crate) fn data_line(text: &str) {
    let mut out = io::stdout().lock();
    keep(writeln!(out, "{text}"));
}

fn keep(result: io::Result<()>) {
    if let Err(error) = result
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error);
    }
}

/// Gives the error with which data could not be written, such as a full disk. To be asked at the very end.
pub(crate) fn lost() -> Option<&'static io::Error> {
    keep(io::stdout().lock().flush());
    LOST.get()
}

/// Writes a message for people.
pub(crate) fn message(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes an error with its causes, each on a line.
pub(crate) fn error(error: &dyn Error) {
    let mut out = io::stderr().lock();
    let mut said = error.to_string();
    let _ = writeln!(out, "error: {said}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some libraries repeat the cause in the text before it.
        if !said.contains(&text) {
            let _ = writeln!(out, "  because: {text}");
            said = text;
        }
        cause = error.source();
    }
}

/// Gives a value in one of the two JSON forms.
pub(crate) fn json(format: Format, value: &impl Serialize) -> String {
    let text = if format == Format::Json {
        serde_json::to_string_pretty(value)
    } else {
        serde_json::to_string(value)
    };
    text.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// A count for people: 1234567 reads 1,234,567.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 item", "2 items".
pub(crate) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}
