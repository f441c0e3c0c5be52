//! Counts and times what a program does, for nanoseconds a call, and writes it as Prometheus text.
//!
//! # When to use it
//!
//! You want figures from a hot path: how many, how long, how full. Register a family once, keep the handle of
//! each series, and move it as often as you like. Do not use it for figures per item, per key or per user: a
//! label takes its values from a small closed set, and the cap below turns what is more into one series.
//! It pushes nothing to anybody and starts no task.
//!
//! # The model
//!
//! A [`Registry`] holds families; a [`Family`] is a [`Definition`] with one kind of figure; a series is one set
//! of label values in a family. The handles are [`Counter`], [`Gauge`] and [`Histogram`]; each is a pointer to
//! atomics and does not know its registry.
//!
//! * A counter is spread over cache lines of its own, one for each group of threads; reading adds them up.
//! * A histogram has fixed log-linear buckets: 64 for each doubling, from 0 to the largest `u64`.
//! * A [`Snapshot`] copies every figure; [`Snapshot::to_text`] is a pure function of it.
//!
//! Moving a handle is O(1). A snapshot is linear in the series, and in the buckets of each histogram.
//!
//! # Guarantees and limits
//!
//! * Moving a counter or a histogram never waits and never allocates. Adding to a gauge repeats itself only
//!   when another thread moved the same gauge in between.
//! * A snapshot takes no lock that moving a handle could wait for. [`Family::series`] does share a lock with
//!   it, for as long as it takes to copy pointers: keep the handle.
//! * A quantile is within 1/128 of the value (0.8 %) that sorting every recorded value would give; values
//!   below 128 are exact. A histogram takes [`Histogram::BYTES`] (30 KiB), whatever is recorded.
//! * A family has at most [`Config::series_max`] series. A set of values beyond it is counted as rejected and
//!   shares the series whose values are all `overflow`.
//! * A counter that is read twice never goes back. Figures of one snapshot are not of one instant.
//!
//! # Units
//!
//! Names end in a base unit, counters in `_total`. A time is recorded in nanoseconds and written in seconds.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use aqueduct_metrics::{Config, Definition, Registry, Scale};
//!
//! const CALLS: Definition =
//!     Definition { name: "shop_calls_total", help: "Calls to the shop.", labels: &["outcome"] };
//! const WAIT: Definition = Definition { name: "shop_wait_seconds", help: "Time to an answer.", labels: &[] };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::new(Config::default())?;
//! let sold = registry.counter(&CALLS)?.series(&["sold"])?;
//! let wait = registry.histogram(&WAIT, Scale::SECONDS)?.series(&[])?;
//!
//! sold.increment();
//! wait.record_duration(Duration::from_millis(3));
//!
//! assert_eq!(sold.value(), 1);
//! assert!(registry.snapshot().to_text().contains("shop_calls_total{outcome=\"sold\"} 1\n"));
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics
//!
//! Each registry counts the label sets that its families refused, in [`REJECTED_SETS`].
//!
//! # Sources
//!
//! The buckets are those of Gil Tene, "HdrHistogram", 2012, with a precision fixed at six bits and atomic
//! counts. The text is Prometheus, "Exposition formats", text format version 0.0.4. The cap and the overflow
//! series follow OpenTelemetry, "Metrics SDK", section "Cardinality limits".

mod config;
mod counter;
mod definition;
mod error;
mod family;
mod gauge;
mod histogram;
mod metrics;
mod registry;
mod snapshot;
mod text;

pub use config::Config;
pub use counter::Counter;
pub use definition::{Definition, Kind, Scale};
pub use error::{ConfigError, MetricsError, RegisterError, SeriesError};
pub use family::{Family, OVERFLOW, Series};
pub use gauge::Gauge;
pub use histogram::{Distribution, Histogram};
pub use metrics::REJECTED_SETS;
pub use registry::Registry;
pub use snapshot::{FamilySnapshot, SeriesSnapshot, Snapshot, Value};
pub use text::CONTENT_TYPE;
