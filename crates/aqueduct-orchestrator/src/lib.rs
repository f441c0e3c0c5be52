//! Reads what a pipeline is and how it runs, checks all of it, and assembles it.
//!
//! # When to use it
//!
//! You have a pipeline file and want to know what it means before anything is opened: its stages with compiled
//! expressions, its sinks, its settings and where each came from. To build a pipeline in Rust, without a file,
//! use `aqueduct-stream`. To evaluate an expression over records, [`Expression`] stands alone.
//!
//! # The model
//!
//! * [`PipelineSpec::load`] goes from what was written to what it means in one step, or to [`ConfigErrors`]: all
//!   that is wrong, each with its place, a caret under it and what would be right.
//! * [`Inputs`] is everything outside the file that it depends on: flags ([`Override`]), the environment, the
//!   number of cores. This crate reads none of them by itself.
//! * [`Settings`] keeps for each value where it came from ([`Origin`]): a flag wins over the environment, the
//!   environment over the file, the file over the default.
//! * [`Expression`] is CEL over one item. [`Engine::Native`] runs what most pipelines use over the record's
//!   bytes; [`Engine::Interpreter`] has the rest.
//! * [`Redacted`] holds what `${env:X}` and `${file:X}` were resolved to, and prints the reference.
//!
//! # Guarantees and limits
//!
//! No input makes the readers panic. The two engines give the same result. Expressions have no clock and no
//! randomness: the same item gives the same result, which resuming a run relies on. A file has at most 1 MiB, an
//! expression at most 16 KiB, 1,000 parts and 32 levels. Evaluation is linear in the size of the expression and
//! allocates for new texts and lists only.
//!
//! # Units
//!
//! Keys that hold a size or a time end in its unit (`_bytes`, `_seconds`, `_ms`); times in the checked form are
//! [`std::time::Duration`]. Offsets in expressions are bytes; columns in errors are letters, counted from 1.
//!
//! # Example
//!
//! ```
//! use std::path::Path;
//!
//! use aqueduct_orchestrator::{Inputs, Override, PipelineSpec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = br#"
//! name = "evidence"
//!
//! [source]
//! type = "jsonl"
//! path = "advisories.jsonl"
//!
//! [[stage]]
//! name = "recent"
//! type = "filter"
//! when = "item.published >= '2024'"
//!
//! [sink]
//! type = "stdout"
//! "#;
//! let overrides = [Override::set("run.workers=4")];
//! let environment = |_: &str| None;
//! let inputs = Inputs::new(&environment).with_overrides(&overrides);
//! let spec = PipelineSpec::parse("pipeline.toml", Path::new("."), file, &inputs)?;
//! assert_eq!(spec.stages[0].name, "recent");
//! assert_eq!(spec.settings.workers.value, 4);
//! assert_eq!(spec.settings.workers.origin.to_string(), "--set run.workers=4");
//! # Ok(())
//! # }
//! ```
//!
//! It emits no metrics.
//!
//! # Sources
//!
//! CEL is the language of <https://github.com/google/cel-spec>; the parser and the interpreter are crate `cel`.
//! CVSS is FIRST's specification of version 3.1, see [`cvss_base_score`].

mod allowance;
mod assembly;
mod batches;
mod caches;
pub mod cases;
mod clean;
mod connectors;
mod error;
mod expression;
mod file;
mod inspect;
mod outputs;
mod redacted;
pub mod reference;
mod request;
pub mod schema;
mod settings;
mod spec;
mod suggest;
mod template;
mod upkeep;
mod verify;

pub use assembly::assemble;
pub use batches::BatchAccount;
pub use caches::{
    CacheAccount, CacheError, CacheTotals, DiskAccount, Invalidation, NamespaceTotals, cache_namespaces,
    invalidate_cache, reset_cache_statistics,
};
pub use clean::{CleanError, CleanPlan, CleanScope, vacuum};
pub use error::{ConfigError, ConfigErrors, CvssError, EvaluationError, ExpressionError, Place};
pub use expression::{Engine, Expression, Type, Value, cvss_base_score, html_text};
pub use file::{Inputs, Override};
pub use inspect::{InspectError, Inspection, ledger_path};
pub use redacted::Redacted;
pub use request::{CacheReach, RunRequest};
pub use settings::{Origin, Ratio, Setting, SettingLine, Settings};
pub use spec::{
    AllowanceSpec, BackendSpec, Balance, BatchSpec, CacheSpec, CachedSpec, ClientSpec, Concurrency, CsvSpec,
    ExecSpec, Feed, FilesSpec, Guarantee, HttpSinkSpec, HttpSourceSpec, HttpSpec, InnerSpec, KeptSpec,
    Method, ModelShape, ModelSpec, OnError, Otherwise, Paging, PipelineSpec, QueueSinkSpec, QueueSourceSpec,
    RetrySpec, Scope, SharedCacheSpec, SinkFormat, SinkKind, SinkSpec, SourceKind, SourceSpec, StageKind,
    StageSpec, StandInSpec, StatusRange, Statuses, StdinSpec, Target,
};
pub use template::Template;
pub use upkeep::{Upkeep, UpkeepError, hold};
pub use verify::{Finding, InspectedStore, Severity, Verification, inspect_stores, verify};
