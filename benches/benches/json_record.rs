//! Question: what does it cost to check a line of JSON, find its fields, and read two of them?
//!
//! Workload: one pass over 10,000 evidence items of about 220 bytes (a seed makes them), and one over the 2,661
//! advisories of the evidence example, 1,892 bytes in the mean. Every arm checks the encoding of the whole line and
//! gives two texts of it. The arms differ in what else they know then:
//!
//! * `record`: every field, the last of duplicate keys, and that nothing is nested deeper than 128 levels;
//! * `serde_json raw`: every field as a pair of key and text, and whether a key stands twice; no bound on depth;
//! * `serde_json value`: everything, as a tree;
//! * `serde_json two known`: the two fields that were named at compile time, and that the rest looks like JSON;
//! * `utf-8`: nothing; the encoding alone, which every arm has to check.
//!
//! A good answer: `record` under `raw` and `value`, and not far from `two known`, which cannot carry the other fields
//! on. The second `record` is the A/A control.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Duration;

use aqueduct_benches::evidence;
use aqueduct_core::Record;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

const EVIDENCE_ITEMS: u64 = 10_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .without_plots()
        .configure_from_args();
    compare(&mut criterion, "evidence", &evidence_lines(), "at");
    compare(&mut criterion, "advisories", &advisory_lines(), "modified");
    criterion.final_summary();
}

/// Lines that share one buffer, as the source hands them out.
fn lines(text: &Bytes) -> Vec<Bytes> {
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let mut start = 0;
    ends.map(|end| text.slice(std::mem::replace(&mut start, end + 1)..end)).collect()
}

fn evidence_lines() -> Vec<Bytes> {
    let mut random = fastrand::Rng::with_seed(20_261_120);
    let mut text = Vec::new();
    for number in 0..EVIDENCE_ITEMS {
        evidence::write_item(&mut text, number, &mut random);
    }
    lines(&text.into())
}

fn advisory_lines() -> Vec<Bytes> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/evidence/data/advisories.jsonl");
    lines(&std::fs::read(path).expect("the example holds its input").into())
}

fn compare(criterion: &mut Criterion, name: &str, lines: &[Bytes], second: &'static str) {
    let bytes = lines.iter().map(Bytes::len).sum::<usize>() as u64;
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes));
    let mut arm = |label: &str, work: fn(&Bytes, &'static str) -> usize| {
        group.bench_with_input(BenchmarkId::from_parameter(label), lines, |bencher, lines| {
            bencher.iter(|| lines.iter().map(|line| work(black_box(line), second)).sum::<usize>());
        });
    };
    arm("record", record);
    arm("record again", record);
    arm("serde_json two known", two_known);
    arm("serde_json raw", raw);
    arm("serde_json value", value);
    arm("utf-8", utf_8);
    group.finish();
}

fn record(line: &Bytes, second: &'static str) -> usize {
    let record = Record::parse(line.clone()).expect("the input is JSON");
    let text = |key| record.get(key).and_then(|value| value.as_str()).map_or(0, |text| text.len());
    text("id") + text(second)
}

fn value(line: &Bytes, second: &'static str) -> usize {
    let value: Value = serde_json::from_str(text_of(line)).expect("the input is JSON");
    let text = |key: &str| value.get(key).and_then(Value::as_str).map_or(0, str::len);
    text("id") + text(second)
}

#[derive(Deserialize)]
struct TwoKnown<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, alias = "at", alias = "modified")]
    second: Cow<'a, str>,
}

fn two_known(line: &Bytes, _: &'static str) -> usize {
    let two: TwoKnown<'_> = serde_json::from_str(text_of(line)).expect("the input is JSON");
    two.id.len() + two.second.len()
}

/// The fields of an object in their order, values as they are written.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((Key(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// `Cow` by itself would always allocate.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

fn raw(line: &Bytes, second: &'static str) -> usize {
    let Fields(fields) = serde_json::from_str(text_of(line)).expect("the input is JSON");
    let is_twice =
        |(at, (key, _)): (usize, &(Cow<'_, str>, _))| fields[..at].iter().any(|pair| pair.0 == *key);
    assert!(!fields.iter().enumerate().any(is_twice), "no input has a key twice");
    let text = |wanted: &str| {
        let (_, value) = fields.iter().find(|(key, _)| key == wanted)?;
        serde_json::from_str::<Key<'_>>(value.get()).ok().map(|Key(text)| text.len())
    };
    text("id").unwrap_or(0) + text(second).unwrap_or(0)
}

fn utf_8(line: &Bytes, _: &'static str) -> usize {
    text_of(line).len()
}

fn text_of(line: &Bytes) -> &str {
    std::str::from_utf8(line).expect("the input is UTF-8")
}
