//! `${env:X}` and `${file:X}` in the values of the file, resolved after parsing and never before.

use std::path::Path;

use crate::redacted::Redacted;
use crate::suggest;

/// Where references are resolved.
pub(super) struct Resolver<'a> {
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    pub(super) read_file: &'a dyn Fn(&Path) -> std::io::Result<String>,
    /// The folder of the pipeline file.
    pub(super) folder: &'a Path,
}

/// A reference that cannot be resolved: what is wrong and what would be right.
pub(super) type Unresolved = (String, Option<String>);

/// The start of a reference. `$${` stands for these two letters themselves.
const OPEN: &str = "${";

/// Tells whether a text has references or escapes of them.
pub(super) fn has_reference(text: &str) -> bool {
    text.contains(OPEN)
}

impl Resolver<'_> {
    /// Puts what is referred to in the place of the references.
    pub(super) fn resolve(&self, written: &str) -> Result<Redacted, Unresolved> {
        let mut resolved = String::with_capacity(written.len());
        let mut rest = written;
        while let Some(at) = rest.find(OPEN) {
            let (before, reference) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                resolved.push_str(before);
                resolved.push_str(OPEN);
                rest = &reference[OPEN.len()..];
                continue;
            }
            resolved.push_str(before);
            let inner = &reference[OPEN.len()..];
            let end = inner.find('}').ok_or_else(|| {
                (
                    "a reference is not closed".to_owned(),
                    Some("it is written ${env:NAME}, and a plain ${ is $${".to_owned()),
                )
            })?;
            resolved.push_str(&self.look_up(&inner[..end])?);
            rest = &inner[end + 1..];
        }
        resolved.push_str(rest);
        Ok(Redacted::new(written, resolved))
    }

    fn look_up(&self, reference: &str) -> Result<String, Unresolved> {
        let (kind, name) = reference.split_once(':').unwrap_or((reference, ""));
        match kind {
            "env" if !name.is_empty() => {
                // As in a shell, a variable that is set to nothing has its default, too.
                let (name, default) = match name.split_once(":-") {
                    Some((name, default)) => (name, Some(default)),
                    None => (name, None),
                };
                match ((self.environment)(name), default) {
                    (Some(value), None) => Ok(value),
                    (Some(value), Some(_)) if !value.is_empty() => Ok(value),
                    (_, Some(default)) => Ok(default.to_owned()),
                    (None, None) => {
                        let hint = format!("with ${{env:{name}:-TEXT}} it is TEXT then");
                        Err((
                            format!("${{env:{name}}} refers to an environment variable that is not set"),
                            Some(hint),
                        ))
                    }
                }
            }
            "file" if !name.is_empty() => {
                let text = (self.read_file)(&self.folder.join(name))
                    .map_err(|error| (format!("${{file:{name}}} cannot be read: {error}"), None))?;
                // Secret files end with a line end that nobody means.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
            }
            _ => {
                let hint = match suggest::nearest(kind, ["env", "file"]) {
                    Some(near) => format!("did you mean ${{{near}:{name}}}?"),
                    None => "there are ${env:NAME} and ${file:PATH}, and a plain ${ is $${".to_owned(),
                };
                Err((format!("${{{reference}}} is not a reference"), Some(hint)))
            }
        }
    }
}
