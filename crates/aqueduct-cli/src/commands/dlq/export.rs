use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use aqueduct_core::Record;
use aqueduct_orchestrator::{InspectError, Inspection};
use aqueduct_store::{DeadLetter, Original};
use serde::Serialize;

use super::read::Pages;
use crate::commands::load;
use crate::exit::Exit;
use crate::flags::{Export, Format};
use crate::output;

/// One line of an export, as the reference describes it; `payload` stands before it.
#[derive(Serialize)]
struct Line<'a> {
    item: &'a str,
    stage: &'a str,
    class: &'static str,
    reason: &'a str,
    attempts: u32,
    first: String,
    last: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    original: LineOriginal<'a>,
}

#[derive(Serialize)]
struct LineOriginal<'a> {
    bytes: u64,
    cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Serialize)]
struct Exported {
    letters: u64,
    to: String,
}

/// Writes dead letters whole, one a line.
pub(super) async fn export(flags: Export) -> Exit {
    let spec = match load(&flags.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let mut ledger = match Inspection::open(&spec).await {
        Ok(Some(ledger)) => ledger,
        Ok(None) => {
            output::message("no dead letters");
            return Exit::Nothing;
        }
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    let pages = Pages::new(flags.letters.filter(), flags.letters.limit);
    let exported = if flags.to == Path::new("-") {
        write_letters(&mut ledger, pages, &mut io::stdout().lock()).await
    } else {
        to_file(&mut ledger, pages, &flags.to).await
    };
    match exported {
        Ok(0) => {
            output::message("no dead letters");
            Exit::Nothing
        }
        Ok(letters) => {
            if flags.to != Path::new("-") {
                tell(&flags, letters);
            }
            Exit::Done
        }
        // A reader that went away (`| head`) has what it wanted.
        Err(ExportError::Write { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            output::error(&error);
            Exit::Failed
        }
    }
}

fn tell(flags: &Export, letters: u64) {
    let to = flags.to.display().to_string();
    match flags.output.output {
        Format::Text => {
            output::message(&format!("{} written to {to}", output::plural(letters, "dead letter")));
        }
        format => output::data_line(&output::json(format, &Exported { letters, to })),
    }
}

/// An export that was not made.
#[derive(Debug)]
enum ExportError {
    /// There is a file already.
    Exists(PathBuf),
    /// It cannot be written.
    Write { to: PathBuf, source: io::Error },
    /// The ledger cannot be read.
    Read(InspectError),
}

impl std::fmt::Display for ExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exists(path) => {
                write!(f, "{} is there already; name another file, or remove it", path.display())
            }
            Self::Write { to, .. } => write!(f, "{} cannot be written", to.display()),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Exists(_) => None,
            Self::Write { source, .. } => Some(source),
            Self::Read(error) => error.source(),
        }
    }
}

/// Writes a file that is there as a whole or not at all, and never one that was there before.
async fn to_file(ledger: &mut Inspection, pages: Pages, to: &Path) -> Result<u64, ExportError> {
    let failed = |source| ExportError::Write { to: to.to_owned(), source };
    if to.symlink_metadata().is_ok() {
        return Err(ExportError::Exists(to.to_owned()));
    }
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(format!(".{}.new", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let file = File::options().write(true).create_new(true).open(&unfinished).map_err(failed)?;
    let mut writer = BufWriter::new(file);
    let written = write_letters(ledger, pages, &mut writer).await;
    let finished = match written {
        Ok(0) => Ok(0),
        Ok(letters) => finish(writer, &unfinished, to).map(|()| letters),
        Err(error) => Err(error),
    };
    // After a link it is only the second name; otherwise it is half a file that nobody wants.
    let _ = std::fs::remove_file(&unfinished);
    finished
}

fn finish(writer: BufWriter<File>, unfinished: &Path, to: &Path) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write { to: to.to_owned(), source };
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    drop(file);
    // A link never replaces a file, which a rename would.
    match std::fs::hard_link(unfinished, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(ExportError::Exists(to.to_owned())),
        // Some file systems have no links. That nobody made the file was seen above.
        Err(_) => std::fs::rename(unfinished, to).map_err(failed),
    }
}

async fn write_letters(
    ledger: &mut Inspection,
    mut pages: Pages,
    to: &mut impl Write,
) -> Result<u64, ExportError> {
    let failed = |source| ExportError::Write { to: PathBuf::from("the export"), source };
    let mut letters = 0;
    loop {
        let page = pages.next(ledger).await.map_err(ExportError::Read)?;
        if page.is_empty() {
            break;
        }
        for letter in &page {
            write_letter(letter, to).map_err(failed)?;
        }
        letters += page.len() as u64;
    }
    to.flush().map_err(failed)?;
    Ok(letters)
}

/// Writes one line. The payload goes in byte by byte, so that no number loses a digit.
fn write_letter(letter: &DeadLetter, to: &mut impl Write) -> io::Result<()> {
    let record = letter.payload.as_ref().map(|bytes| Record::parse(bytes.clone()));
    let (payload, payload_base64) = match (&record, &letter.payload) {
        (Some(Ok(record)), _) if !record.as_text().contains(['\n', '\r']) => (record.as_text(), None),
        (_, Some(bytes)) => ("null", Some(base64(bytes))),
        _ => ("null", None),
    };
    let (bytes, head, cut) = match &letter.original {
        Original::Whole(bytes) => (bytes.len() as u64, bytes, None),
        Original::Cut { offset, bytes, sha256, head } => (*bytes, head, Some((*offset, sha256))),
    };
    let text = std::str::from_utf8(head).ok();
    let line = Line {
        item: &letter.item_id,
        stage: &letter.stage,
        class: letter.class.as_str(),
        reason: &letter.reason,
        attempts: letter.attempts,
        first: letter.first.to_string(),
        last: letter.last.to_string(),
        payload_base64,
        original: LineOriginal {
            bytes,
            cut: cut.is_some(),
            offset: cut.map(|(offset, _)| offset),
            sha256: cut.map(|(_, sha256)| sha256.iter().map(|byte| format!("{byte:02x}")).collect()),
            text,
            base64: text.is_none().then(|| base64(head)),
        },
    };
    let rest = serde_json::to_string(&line)?;
    let rest = rest.strip_prefix('{').unwrap_or(&rest);
    writeln!(to, "{{\"payload\":{payload},{rest}")
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(super::base64(plain.as_bytes()), encoded);
        }
        assert_eq!(super::base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
