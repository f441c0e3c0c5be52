mod edit;
mod export;
mod purge;
mod read;
mod replay;

use aqueduct_orchestrator::{InspectError, Inspection, PipelineSpec};
use aqueduct_store::{DeadLetter, DeadLetterFilter, Original};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use self::read::Pages;
use super::{load, one_line};
use crate::exit::Exit;
use crate::flags::{Dlq, Format, Letters, Look};
use crate::output;

/// One dead letter, the same shape in every command.
#[derive(Serialize)]
struct Letter {
    item: String,
    stage: String,
    class: &'static str,
    reason: String,
    attempts: u32,
    first: String,
    last: String,
    /// The payload as the stage saw it, digit by digit; null when the input never became a record.
    payload: Option<Box<RawValue>>,
    original: ShownOriginal,
}

/// The original bytes, as text where they are one.
#[derive(Serialize)]
struct ShownOriginal {
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// True when only the beginning is shown.
    cut: bool,
    /// Bytes that are not UTF-8 are shown as `\xNN`, a backslash as `\\`.
    escaped: bool,
    text: String,
}

/// Looks at dead letters, or changes them.
pub(super) async fn dlq(dlq: Dlq) -> Exit {
    match dlq {
        Dlq::Ls { look, letters } => list(&look, &letters).await,
        Dlq::Show { item, look } => show(item, &look).await,
        Dlq::Export(flags) => export::export(flags).await,
        Dlq::Edit(flags) => edit::edit(flags).await,
        Dlq::Replay(flags) => replay::replay(flags).await,
        Dlq::Purge(flags) => purge::purge(flags).await,
    }
}

/// How many letters are listed unless the caller says otherwise: a long page for a person.
const LISTED_DEFAULT: u64 = 1_000;

async fn list(look: &Look, letters: &Letters) -> Exit {
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    match print_list(&spec, look, letters).await {
        Ok(0) => Exit::Nothing,
        Ok(_) => Exit::Done,
        Err(error) => {
            output::error(&error);
            Exit::Failed
        }
    }
}

/// Prints page by page, and tells how many were printed.
async fn print_list(spec: &PipelineSpec, look: &Look, letters: &Letters) -> Result<u64, InspectError> {
    let format = look.output.output;
    let mut shown = 0;
    let mut total = 0;
    if let Some(mut ledger) = Inspection::open(spec).await? {
        total = ledger.dead_letter_total(letters.filter()).await?.letters;
        let mut pages = Pages::new(letters.filter(), Some(letters.limit.unwrap_or(LISTED_DEFAULT)));
        loop {
            let page = pages.next(&mut ledger).await?;
            if page.is_empty() {
                break;
            }
            for letter in page {
                print_one(format, self::shown(letter), shown == 0);
                shown += 1;
            }
        }
    }
    match format {
        Format::Json if shown == 0 => output::data_line("[]"),
        Format::Json => output::data_line("\n]"),
        Format::Text if shown == 0 => output::message("no dead letters"),
        Format::Text if shown < total => output::message(&format!(
            "{} of {} shown",
            output::count(shown),
            output::plural(total, "dead letter")
        )),
        Format::Jsonl | Format::Text => {}
    }
    Ok(shown)
}

fn print_one(format: Format, letter: Letter, first: bool) {
    match format {
        Format::Json => {
            let json = output::json(Format::Json, &letter).replace('\n', "\n  ");
            output::data(&format!("{}\n  {json}", if first { "[" } else { "," }));
        }
        Format::Jsonl => output::data_line(&output::json(Format::Jsonl, &letter)),
        Format::Text => {
            output::data_line(&format!("{}  {}  {}", letter.item, letter.stage, one_line(&letter.reason)));
        }
    }
}

/// Shows every letter of one item whole.
async fn show(item: String, look: &Look) -> Exit {
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let filter = DeadLetterFilter { items: vec![item.clone()], ..DeadLetterFilter::default() };
    let read = async {
        match Inspection::open(&spec).await? {
            Some(mut ledger) => ledger.dead_letters(filter).await,
            None => Ok(Vec::new()),
        }
    };
    let letters: Vec<Letter> = match read.await {
        Ok(letters) => letters.into_iter().map(shown).collect(),
        Err(error) => {
            output::error(&error);
            return Exit::Failed;
        }
    };
    if letters.is_empty() {
        let known = "aqueduct dlq ls lists those that are there";
        output::message(&format!("error: no dead letter of item {item}; {known}"));
        return Exit::Failed;
    }
    match look.output.output {
        Format::Json => output::data_line(&output::json(Format::Json, &letters.first())),
        Format::Jsonl => {
            letters.iter().for_each(|letter| output::data_line(&output::json(Format::Jsonl, letter)));
        }
        Format::Text => letters.iter().for_each(print_whole),
    }
    Exit::Done
}

fn print_whole(letter: &Letter) {
    output::data_line(&format!("item      {}", letter.item));
    output::data_line(&format!("stage     {}", letter.stage));
    output::data_line(&format!("reason    {}", one_line(&letter.reason)));
    output::data_line(&format!("class     {}", letter.class));
    output::data_line(&format!(
        "attempts  {}, first {}, last {}",
        letter.attempts, letter.first, letter.last
    ));
    match &letter.payload {
        Some(payload) => output::data_line(&format!("payload   {}", one_line(payload.get()))),
        None => output::data_line("payload   none: the input never became a record"),
    }
    let original = &letter.original;
    let cut = if original.cut { ", the beginning of it below" } else { "" };
    output::data_line(&format!("original  {}{cut}", output::plural(original.bytes, "byte")));
    if let (Some(offset), Some(sha256)) = (original.offset, &original.sha256) {
        output::data_line(&format!("          at byte {offset} of the input, SHA-256 {sha256}"));
    }
    output::data_line(&one_line(&original.text));
}

fn shown(letter: DeadLetter) -> Letter {
    Letter {
        item: letter.item_id,
        stage: letter.stage,
        class: letter.class.as_str(),
        reason: letter.reason,
        attempts: letter.attempts,
        first: letter.first.to_string(),
        last: letter.last.to_string(),
        payload: letter.payload.as_deref().map(payload),
        original: original(letter.original),
    }
}

/// The JSON as it stands, so that no number loses a digit; what is none, or not one line, becomes a text.
fn payload(bytes: &[u8]) -> Box<RawValue> {
    match serde_json::from_slice::<Box<RawValue>>(bytes) {
        Ok(json) if !json.get().contains(['\n', '\r']) => json,
        _ => to_raw_value(&String::from_utf8_lossy(bytes)).unwrap_or_default(),
    }
}

fn original(original: Original) -> ShownOriginal {
    let (bytes, head, cut) = match original {
        Original::Whole(bytes) => (bytes.len() as u64, bytes, None),
        Original::Cut { offset, bytes, sha256, head } => {
            let hex = sha256.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            (bytes, head, Some((offset, hex)))
        }
    };
    // A cut may fall inside a character; that alone does not make the text binary.
    let (text, escaped) = match std::str::from_utf8(&head) {
        Ok(text) => (text.to_owned(), false),
        Err(error) if cut.is_some() && error.error_len().is_none() => {
            (String::from_utf8_lossy(&head[..error.valid_up_to()]).into_owned(), false)
        }
        Err(_) => (head.escape_ascii().to_string(), true),
    };
    let (offset, sha256) = cut.clone().unzip();
    ShownOriginal { bytes, offset, sha256, cut: cut.is_some(), escaped, text }
}
