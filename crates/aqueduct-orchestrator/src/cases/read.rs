//! Reads cases: `[[test]]` in the pipeline file, or in `NAME.test.toml` beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Counts, ErrorClass, Timestamp};
use serde::Deserialize;
use serde_json::Value as Json;

use super::When;
use crate::expression::Expression;
use crate::spec::PipelineSpec;
use crate::suggest;

/// Where the virtual clock of a case stands at first, unless the case says otherwise: 2026-01-01, midnight UTC.
const CLOCK_DEFAULT: Timestamp = Timestamp(1_767_225_600_000);

/// The stage of dead letters whose input could not be read.
const SOURCE: &str = "source";

/// The cases of a pipeline, checked against it.
#[derive(Debug)]
pub struct Cases {
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
    /// The file that they stand in.
    pub file: PathBuf,
}

/// One case: input, faults, and what must come out.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, unique in its file.
    pub name: String,
    pub(super) input: Input,
    pub(super) clock: Timestamp,
    pub(super) faults: Vec<ScriptedFault>,
    pub(super) expect: Vec<(String, Vec<ExpectedRow>)>,
    pub(super) letters: Option<Vec<ExpectedLetter>>,
    pub(super) ledger: Vec<(String, u64)>,
    pub(super) retries: Option<u64>,
    pub(super) elapsed_seconds: Option<f64>,
    pub(super) fails: Option<String>,
}

/// What a case feeds the source.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Lines, and whether all of them are written as they stand.
    Lines(Vec<String>, bool),
    /// A file, relative to the pipeline file.
    File(String),
}

impl Input {
    /// Tells whether it is in the form that the source itself reads; a table never is.
    pub(super) fn is_raw(&self) -> bool {
        match self {
            Self::Lines(_, raw) => *raw,
            Self::File(_) => true,
        }
    }
}

/// A fault of a stage.
#[derive(Clone, Debug)]
pub(super) struct ScriptedFault {
    pub(super) stage: String,
    pub(super) which: Which,
    pub(super) class: ErrorClass,
    pub(super) times: u32,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

/// Which items a fault is for.
#[derive(Clone, Debug)]
pub(super) enum Which {
    All,
    /// The item of this number in the input, from 1, and all that came of it.
    Ordinal(usize),
    When(When),
}

/// A row or line that must come out.
#[derive(Clone, Debug)]
pub(super) struct ExpectedRow {
    pub(super) json: Json,
    /// It was written as JSON, where a null is one.
    pub(super) exact: bool,
}

/// What is said of a dead letter; what is not said may be anything.
#[derive(Clone, Debug, Default)]
pub(super) struct ExpectedLetter {
    pub(super) stage: Option<String>,
    pub(super) class: Option<ErrorClass>,
    pub(super) reason: Option<String>,
    pub(super) attempts: Option<u32>,
    pub(super) item: Option<usize>,
    pub(super) original: Option<String>,
    pub(super) payload: Option<serde_json::Map<String, Json>>,
}

impl fmt::Display for ExpectedLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a letter")?;
        if let Some(item) = self.item {
            write!(f, " of item {item}")?;
        }
        if let Some(stage) = &self.stage {
            write!(f, " at {stage}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ", because {reason:?}")?;
        }
        Ok(())
    }
}

/// Cases that cannot be used: what is wrong, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", file.display())]
pub struct CaseFileError {
    file: PathBuf,
    message: String,
}

impl aqueduct_core::Classified for CaseFileError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFile {
    #[serde(default)]
    test: Vec<Written>,
}

/// The pipeline file; everything else in it was read before.
#[derive(Deserialize)]
struct PipelineFile {
    #[serde(default)]
    test: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    input: Option<Vec<toml::Value>>,
    input_file: Option<String>,
    clock: Option<toml::Value>,
    #[serde(default)]
    fault: Vec<WrittenFault>,
    expect: Option<BTreeMap<String, Vec<toml::Value>>>,
    expect_dead_letters: Option<Vec<WrittenLetter>>,
    ledger: Option<BTreeMap<String, u64>>,
    retries: Option<u64>,
    elapsed_seconds: Option<f64>,
    fails: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFault {
    stage: String,
    item: Option<usize>,
    when: Option<String>,
    class: String,
    times: Option<u32>,
    message: Option<String>,
    retry_after_seconds: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLetter {
    stage: Option<String>,
    class: Option<String>,
    reason: Option<String>,
    attempts: Option<u32>,
    item: Option<usize>,
    original: Option<String>,
    payload: Option<toml::Table>,
}

impl Cases {
    /// Reads the cases of the pipeline in `file`: those in it, or those in the file beside it that has `.test` in its
    /// name.
    ///
    /// # Errors
    ///
    /// [`CaseFileError`] names the first thing that is wrong. No case at all is an error: it would test nothing.
    pub fn load(file: &Path, spec: &PipelineSpec) -> Result<Self, CaseFileError> {
        let beside = file.with_extension("test.toml");
        let here: PipelineFile = parse(file)?;
        let there = beside.exists().then(|| parse::<OwnFile>(&beside)).transpose()?;
        let (written, file) = match (here.test.is_empty(), there) {
            (false, Some(there)) if !there.test.is_empty() => {
                let message = format!("cases stand here and in {}; put them into one file", beside.display());
                return Err(CaseFileError { file: file.to_owned(), message });
            }
            (false, _) => (here.test, file.to_owned()),
            (true, Some(there)) => (there.test, beside),
            (true, None) => {
                let message = format!(
                    "it tests nothing: there is no [[test]] in it, and no file {} beside it",
                    beside.display()
                );
                return Err(CaseFileError { file: file.to_owned(), message });
            }
        };
        if written.is_empty() {
            return Err(CaseFileError {
                file,
                message: "it tests nothing: there is no [[test]] in it".to_owned(),
            });
        }
        let mut cases: Vec<Case> = Vec::with_capacity(written.len());
        for (at, written) in written.into_iter().enumerate() {
            let called =
                if written.name.is_empty() { format!("test {}", at + 1) } else { written.name.clone() };
            let wrong = |message| CaseFileError {
                file: file.clone(),
                message: format!("test {called:?}: {message}"),
            };
            if written.name.is_empty() {
                return Err(wrong("its name is empty".to_owned()));
            }
            if cases.iter().any(|known| known.name == written.name) {
                return Err(wrong("another test has the same name".to_owned()));
            }
            cases.push(checked(written, spec).map_err(wrong)?);
        }
        Ok(Self { cases, file })
    }
}

fn parse<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T, CaseFileError> {
    let wrong = |message| CaseFileError { file: file.to_owned(), message };
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))
}

fn checked(written: Written, spec: &PipelineSpec) -> Result<Case, String> {
    let nothing_said = written.expect.as_ref().is_none_or(BTreeMap::is_empty)
        && written.expect_dead_letters.is_none()
        && written.ledger.as_ref().is_none_or(BTreeMap::is_empty)
        && written.retries.is_none()
        && written.elapsed_seconds.is_none()
        && written.fails.is_none();
    if nothing_said {
        return Err("it expects nothing; say what must come out with expect.SINK, expect_dead_letters, ledger, retries, \
                    elapsed_seconds or fails"
            .to_owned());
    }
    let input = match (written.input, written.input_file) {
        (Some(lines), None) => {
            let raw = lines.iter().all(toml::Value::is_str);
            Input::Lines(lines.into_iter().map(line).collect::<Result<_, _>>()?, raw)
        }
        (None, Some(file)) => Input::File(file),
        (None, None) => return Err("it has no input; give it input = [...] or input_file".to_owned()),
        (Some(_), Some(_)) => return Err("it has both input and input_file; give it one of them".to_owned()),
    };
    let items = match &input {
        Input::Lines(lines, _) => Some(lines.len()),
        Input::File(_) => None,
    };
    let mut expect = Vec::new();
    for (sink, rows) in written.expect.unwrap_or_default() {
        if !spec.sinks.iter().any(|known| known.name == sink) {
            return Err(unknown("sink", &sink, spec.sinks.iter().map(|known| known.name.as_str())));
        }
        expect.push((sink, rows.into_iter().map(row).collect::<Result<_, _>>()?));
    }
    let ledger: Vec<(String, u64)> = written.ledger.unwrap_or_default().into_iter().collect();
    for (key, _) in &ledger {
        if count(&Counts::default(), key).is_none() {
            const KEYS: [&str; 9] = [
                "read",
                "spawned",
                "delivered",
                "dead_lettered",
                "skipped",
                "absorbed",
                "dropped",
                "abandoned",
                "in_flight",
            ];
            return Err(unknown("count of the ledger", key, KEYS.into_iter()));
        }
    }
    if written.elapsed_seconds.is_some_and(|seconds| !(0.0..=1e12).contains(&seconds)) {
        return Err("elapsed_seconds must be from 0 to 1e12".to_owned());
    }
    let letters = written.expect_dead_letters.map(|letters| {
        letters.into_iter().map(|written| letter(written, spec, items)).collect::<Result<Vec<_>, _>>()
    });
    Ok(Case {
        name: written.name,
        input,
        clock: written.clock.map_or(Ok(CLOCK_DEFAULT), clock)?,
        faults: written
            .fault
            .into_iter()
            .map(|written| fault(written, spec, items))
            .collect::<Result<_, _>>()?,
        expect,
        letters: letters.transpose()?,
        ledger,
        retries: written.retries,
        elapsed_seconds: written.elapsed_seconds,
        fails: written.fails,
    })
}

/// One line of input: a table becomes JSON, a text is the line as it stands.
fn line(value: toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) if text.contains('\n') => {
            Err(format!("the input {text:?} has a line end inside; write one line each"))
        }
        toml::Value::String(text) => Ok(text),
        table @ toml::Value::Table(_) => Ok(json(table).to_string()),
        other => Err(format!("the input {} is neither a table nor a line in quotes", json(other))),
    }
}

fn row(value: toml::Value) -> Result<ExpectedRow, String> {
    match value {
        toml::Value::String(text) => match serde_json::from_str(&text) {
            Ok(json) => Ok(ExpectedRow { json, exact: true }),
            Err(error) => Err(format!("the expected row {text:?} is not JSON: {error}")),
        },
        table @ toml::Value::Table(_) => Ok(ExpectedRow { json: json(table), exact: false }),
        other => Err(format!("the expected row {} is neither a table nor JSON in quotes", json(other))),
    }
}

fn json(value: toml::Value) -> Json {
    match value {
        toml::Value::String(text) => Json::from(text),
        toml::Value::Integer(number) => Json::from(number),
        toml::Value::Float(number) => Json::from(number),
        toml::Value::Boolean(truth) => Json::from(truth),
        toml::Value::Datetime(time) => Json::from(time.to_string()),
        toml::Value::Array(list) => Json::Array(list.into_iter().map(json).collect()),
        toml::Value::Table(table) => {
            Json::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
    }
}

fn clock(value: toml::Value) -> Result<Timestamp, String> {
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Datetime(time) => time.to_string(),
        other => json(other).to_string(),
    };
    text.parse().map_err(|error| format!("clock is {text:?}, which is {error}"))
}

fn fault(written: WrittenFault, spec: &PipelineSpec, items: Option<usize>) -> Result<ScriptedFault, String> {
    if !spec.stages.iter().any(|known| known.name == written.stage) {
        return Err(unknown("stage", &written.stage, spec.stages.iter().map(|known| known.name.as_str())));
    }
    let which = match (written.item, written.when) {
        (Some(_), Some(_)) => return Err("a fault has both item and when; give it one of them".to_owned()),
        (Some(item), None) => Which::Ordinal(within(item, items)?),
        (None, Some(when)) => {
            let compiled = Expression::compile(&when);
            Which::When(Arc::new(compiled.map_err(|error| format!("when = {when:?}: {}", error.message()))?))
        }
        (None, None) => Which::All,
    };
    let retry_after = match written.retry_after_seconds {
        None => None,
        Some(seconds) => Some(
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| format!("retry_after_seconds is {seconds}, and must be 0 or more"))?,
        ),
    };
    let class = class(&written.class)?;
    Ok(ScriptedFault {
        stage: written.stage,
        which,
        class,
        times: written.times.unwrap_or(1),
        message: written.message.unwrap_or_else(|| format!("{class} fault of the test")),
        retry_after,
    })
}

fn letter(
    written: WrittenLetter,
    spec: &PipelineSpec,
    items: Option<usize>,
) -> Result<ExpectedLetter, String> {
    let WrittenLetter { stage, class: of_class, reason, attempts, item, original, payload } = written;
    if let Some(stage) = &stage {
        let names = || {
            let stages = spec.stages.iter().map(|stage| stage.name.as_str());
            stages.chain(spec.sinks.iter().map(|sink| sink.name.as_str())).chain([SOURCE])
        };
        if !names().any(|known| known == stage) {
            return Err(unknown("stage", stage, names()));
        }
    }
    Ok(ExpectedLetter {
        stage,
        class: of_class.map(|name| class(&name)).transpose()?,
        reason,
        attempts,
        item: item.map(|item| within(item, items)).transpose()?,
        original,
        payload: payload.map(|table| table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    })
}

/// The number of an item that the input has.
fn within(item: usize, items: Option<usize>) -> Result<usize, String> {
    match items {
        _ if item == 0 => Err("item is 0, and items are counted from 1".to_owned()),
        Some(items) if item > items => Err(format!("item is {item}, and the input has {items}")),
        _ => Ok(item),
    }
}

fn class(name: &str) -> Result<ErrorClass, String> {
    const CLASSES: [ErrorClass; 6] = [
        ErrorClass::Transient,
        ErrorClass::Permanent,
        ErrorClass::Overload,
        ErrorClass::Invalid,
        ErrorClass::Cancelled,
        ErrorClass::Internal,
    ];
    let known = CLASSES.into_iter().find(|class| class.as_str() == name);
    known.ok_or_else(|| unknown("error class", name, CLASSES.into_iter().map(ErrorClass::as_str)))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match suggest::nearest(name, known.clone()) {
        Some(near) => format!("there is no {what} {name:?}; did you mean {near:?}?"),
        None => format!("there is no {what} {name:?}; there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// A count of the ledger by its name; `None` when there is none of this name.
pub(super) fn count(counts: &Counts, key: &str) -> Option<u64> {
    Some(match key {
        "read" => counts.read,
        "spawned" => counts.spawned,
        "delivered" => counts.delivered,
        "dead_lettered" => counts.dead_lettered,
        "skipped" => counts.skipped,
        "absorbed" => counts.absorbed,
        "dropped" => counts.dropped,
        "abandoned" => counts.abandoned,
        "in_flight" => counts.in_flight,
        _ => return None,
    })
}
