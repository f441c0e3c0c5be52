use aqueduct_orchestrator::{InspectError, Inspection, PipelineSpec};
use aqueduct_store::{DeadLetter, DeadLetterFilter, Original};
use serde::Serialize;

use super::load;
use crate::exit::Exit;
use crate::flags::{Dlq, Format, Look};
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
    /// The payload as the stage saw it; null when the input never became a record.
    payload: Option<serde_json::Value>,
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

/// Looks at dead letters.
pub(super) async fn dlq(dlq: Dlq) -> Exit {
    let (look, filter, one) = match dlq {
        Dlq::Ls { look, stage, limit } => {
            (look, DeadLetterFilter { stage, limit: Some(limit), ..DeadLetterFilter::default() }, false)
        }
        Dlq::Show { item, look } => {
            (look, DeadLetterFilter { item_id: Some(item), ..DeadLetterFilter::default() }, true)
        }
    };
    let spec = match load(&look.file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    let wanted = filter.item_id.clone().unwrap_or_default();
    match read(&spec, filter).await {
        Err(error) => {
            output::error(&error);
            Exit::Failed
        }
        Ok((_, letters)) if one && letters.is_empty() => {
            let known = "aqueduct dlq ls lists those that are there";
            output::message(&format!("error: no dead letter of item {wanted}; {known}"));
            Exit::Failed
        }
        Ok((total, letters)) => {
            let letters: Vec<Letter> = letters.into_iter().map(shown).collect();
            print(&look, &letters, total, one);
            if letters.is_empty() { Exit::Nothing } else { Exit::Done }
        }
    }
}

async fn read(spec: &PipelineSpec, filter: DeadLetterFilter) -> Result<(u64, Vec<DeadLetter>), InspectError> {
    match Inspection::open(spec).await? {
        Some(mut inspection) => {
            let total = inspection.dead_letter_count().await?;
            Ok((total, inspection.dead_letters(filter).await?))
        }
        None => Ok((0, Vec::new())),
    }
}

fn print(look: &Look, letters: &[Letter], total: u64, whole: bool) {
    match look.output.output {
        Format::Json if whole => output::data_line(&output::json(Format::Json, &letters.first())),
        Format::Json => output::data_line(&output::json(Format::Json, &letters)),
        Format::Jsonl => {
            for letter in letters {
                output::data_line(&output::json(Format::Jsonl, letter));
            }
        }
        Format::Text if letters.is_empty() => output::message("no dead letters"),
        Format::Text if whole => letters.iter().for_each(print_whole),
        Format::Text => {
            for letter in letters {
                output::data_line(&format!(
                    "{}  {}  {}",
                    letter.item,
                    letter.stage,
                    one_line(&letter.reason)
                ));
            }
            let shown = letters.len() as u64;
            if shown < total {
                output::message(&format!(
                    "{} of {} shown",
                    output::count(shown),
                    output::plural(total, "dead letter")
                ));
            }
        }
    }
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
        Some(payload) => output::data_line(&format!("payload   {payload}")),
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

/// Item data never moves the cursor of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
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
        payload: letter.payload.map(|bytes| {
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
        }),
        original: original(letter.original),
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
