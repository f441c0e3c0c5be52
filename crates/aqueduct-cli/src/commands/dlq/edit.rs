use std::io::Read;
use std::path::Path;

use aqueduct_core::json::RawJson;
use aqueduct_core::{Record, RecordBuilder};
use aqueduct_orchestrator::{Inspection, Upkeep, UpkeepError, hold};
use aqueduct_store::{DeadLetter, DeadLetterEdit, DeadLetterFilter};
use bytes::Bytes;

use crate::commands::load;
use crate::exit::Exit;
use crate::flags::{Edit, Format, PipelineFile};
use crate::output;

/// The largest payload that is read from a file or a pipe: that of the longest line that a source may be set to.
const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// Gives a dead letter another payload.
pub(super) async fn edit(flags: Edit) -> Exit {
    let file = PipelineFile {
        file: flags.file.clone(),
        set: flags.file_set.clone(),
        data_dir: flags.data_dir.clone(),
    };
    let spec = match load(&file) {
        Ok(spec) => spec,
        Err(exit) => return exit,
    };
    if flags.set.is_empty() && flags.unset.is_empty() && flags.payload.is_none() {
        output::message("error: nothing to change; say --set FIELD=VALUE, --unset FIELD or --payload FILE");
        return Exit::Usage;
    }
    let letter = match find(&spec, &flags).await {
        Ok(letter) => letter,
        Err(exit) => return exit,
    };
    let payload = match new_payload(&letter, &flags) {
        Ok(payload) => payload,
        Err(message) => {
            output::message(&format!("error: {message}"));
            return Exit::Failed;
        }
    };
    let (item, stage) = (letter.item_id.clone(), letter.stage.clone());
    let changed = async {
        // No run and no replay may begin: a replay resolves what it has read, and would drop the edit unseen.
        let _lock = hold(&spec)?;
        if let Some(mut upkeep) = Upkeep::open(&spec).await? {
            upkeep.edit(DeadLetterEdit { read: letter, payload: payload.to_bytes() }).await?;
            upkeep.close().await?;
        }
        Ok::<_, UpkeepError>(())
    };
    if let Err(error) = changed.await {
        output::error(&error);
        return Exit::Failed;
    }
    if flags.output.output == Format::Text {
        output::message(&format!("{item} at {stage}: changed; a replay uses the new payload"));
        output::data_line(&super::one_line(payload.as_text()));
    } else {
        let field = |text: &str| serde_json::Value::from(text).to_string();
        output::data_line(&format!(
            "{{\"item\":{},\"stage\":{},\"payload\":{}}}",
            field(&item),
            field(&stage),
            payload.as_text()
        ));
    }
    Exit::Done
}

/// The one letter that is meant.
async fn find(spec: &aqueduct_orchestrator::PipelineSpec, flags: &Edit) -> Result<DeadLetter, Exit> {
    let filter = DeadLetterFilter {
        items: vec![flags.item.clone()],
        stage: flags.stage.clone(),
        ..DeadLetterFilter::default()
    };
    let read = async {
        match Inspection::open(spec).await? {
            Some(mut ledger) => ledger.dead_letters(filter).await,
            None => Ok(Vec::new()),
        }
    };
    let mut letters = read.await.map_err(|error| {
        output::error(&error);
        Exit::Failed
    })?;
    match letters.len() {
        1 => Ok(letters.remove(0)),
        0 => {
            let at = flags.stage.as_ref().map(|stage| format!(" at stage {stage}")).unwrap_or_default();
            let known = "aqueduct dlq ls lists those that are there";
            output::message(&format!("error: no dead letter of item {}{at}; {known}", flags.item));
            Err(Exit::Failed)
        }
        _ => {
            let stages: Vec<&str> = letters.iter().map(|letter| letter.stage.as_str()).collect();
            output::message(&format!(
                "error: item {} has a dead letter at each of {}; choose one with --stage",
                flags.item,
                stages.join(", ")
            ));
            Err(Exit::Usage)
        }
    }
}

fn new_payload(letter: &DeadLetter, flags: &Edit) -> Result<Record, String> {
    if let Some(path) = &flags.payload {
        let bytes = read_payload(path)?;
        return Record::parse(bytes).map_err(|error| format!("{}: {error}", path.display()));
    }
    let Some(payload) = &letter.payload else {
        return Err(format!(
            "the letter of item {} at {} has no payload, since its input never became a record; give it a whole one with \
             --payload FILE",
            letter.item_id, letter.stage
        ));
    };
    let record =
        Record::parse(payload.clone()).map_err(|error| format!("the payload is no object: {error}"))?;
    let mut changes = Vec::with_capacity(flags.set.len());
    for assignment in &flags.set {
        let (field, value) = assignment
            .split_once('=')
            .filter(|(field, _)| !field.is_empty())
            .ok_or_else(|| format!("--set {assignment}: it is written FIELD=VALUE"))?;
        // What is not JSON is a text, so that `--set name=Ada` needs no quotes inside quotes.
        let json = match RawJson::parse(value) {
            Ok(_) => value.to_owned(),
            Err(_) => serde_json::Value::from(value).to_string(),
        };
        changes.push((field, json));
    }
    for field in &flags.unset {
        if record.get(field).is_none() {
            return Err(format!("--unset {field}: the payload has no such field"));
        }
    }
    changed(&record, &changes, &flags.unset)
}

/// Rewrites the fields that change and keeps all others as they stand, every digit included.
fn changed(record: &Record, set: &[(&str, String)], unset: &[String]) -> Result<Record, String> {
    let raw = |json| RawJson::parse(json).map_err(|error| error.to_string());
    let mut builder = RecordBuilder::with_capacity(record.as_bytes().len() + 64);
    for (escaped, value) in record.fields() {
        let name: String =
            serde_json::from_str(&format!("\"{escaped}\"")).unwrap_or_else(|_| escaped.to_owned());
        if unset.contains(&name) {
            continue;
        }
        match set.iter().rfind(|(field, _)| *field == name) {
            Some((_, json)) => builder.raw_escaped(escaped, raw(json)?),
            None => builder.raw_escaped(escaped, value),
        }
    }
    for (at, (field, json)) in set.iter().enumerate() {
        let again = set[at + 1..].iter().any(|(later, _)| later == field);
        if record.get(field).is_none() && !again {
            builder.raw(field, raw(json)?);
        }
    }
    Ok(builder.finish())
}

/// The bytes of a payload, on one line.
fn read_payload(path: &Path) -> Result<Bytes, String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(format!("{} has more than {PAYLOAD_BYTES_MAX} bytes", path.display()));
    }
    // JSON has line ends between its parts only, where a blank is the same.
    bytes.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    Ok(bytes.into())
}
