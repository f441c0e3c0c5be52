mod field;

use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Instant, PartitionId, Phase, Position, Random, Record, RecordBuilder};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Chunk, ChunkContent, Decode, Decoded, Source, SourceContext};
use crate::error::{ConfigError, DecodeError, SourceError};

pub use field::GeneratorField;

/// The name of the one partition.
const NAME: &str = "generator";

/// The version of the position's text.
const POSITION_FORMAT: u32 = 1;

/// What a field takes beside its value: quotes, colon, comma, and its place in the record's index.
const FIELD_BYTES: usize = 24;

/// How far a source that was held back runs to catch up with its rate: enough for a slow commit, and no flood
/// after an hour of an outage.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Makes items up: for trying a pipeline, for load, for tests.
///
/// Item `i` depends on the seed, the fields and `i` alone. So a run can go on behind any item, and a repeated
/// run gives the same items. All workers make items at once.
#[derive(Debug)]
pub struct Generator {
    recipe: Arc<Recipe>,
    count: Option<u64>,
    rate: Option<f64>,
    context: Option<SourceContext>,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    partition: PartitionId,
    next: u64,
    /// When the rate began to count, and how many items were given since.
    since: Option<(Instant, u64)>,
}

/// What makes an item of its number.
#[derive(Debug)]
struct Recipe {
    seed: u64,
    fields: Vec<(String, GeneratorField)>,
    /// About the most that an item takes: chunks enter the window before their items exist.
    item_bytes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct GeneratorPosition {
    format: u32,
    next: u64,
}

impl Generator {
    /// Makes endless items with these fields, in their order, as fast as they are taken.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] when a name is there twice or empty.
    pub fn new(
        fields: impl IntoIterator<Item = (impl Into<String>, GeneratorField)>,
    ) -> Result<Self, ConfigError> {
        let fields: Vec<(String, GeneratorField)> =
            fields.into_iter().map(|(name, field)| (name.into(), field)).collect();
        for (at, (name, _)) in fields.iter().enumerate() {
            if name.is_empty() || fields[..at].iter().any(|(other, _)| other == name) {
                return Err(ConfigError::Value {
                    field: "fields".to_owned(),
                    value: format!("a list with the name {name:?}"),
                    expected: "names of their own".to_owned(),
                });
            }
        }
        let recipe = Arc::new(Recipe::new(0, fields));
        Ok(Self { recipe, count: None, rate: None, context: None, reading: None })
    }

    /// Ends after `count` items over all runs. Default: never.
    #[must_use]
    pub fn with_count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Chooses among all sequences of items. Default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.recipe = Arc::new(Recipe::new(seed, self.recipe.fields.clone()));
        self
    }

    /// Gives at most so many items a second, on the run's clock. Default: as fast as they are taken.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] when it is not a number above 0.
    pub fn with_rate(mut self, items_per_second: f64) -> Result<Self, ConfigError> {
        if !items_per_second.is_finite() || items_per_second <= 0.0 {
            return Err(ConfigError::Value {
                field: "rate".to_owned(),
                value: items_per_second.to_string(),
                expected: "a number above 0".to_owned(),
            });
        }
        self.rate = Some(items_per_second);
        Ok(self)
    }
}

impl Source for Generator {
    fn describe(&self) -> String {
        let count = self.count.map_or("endless".to_owned(), |count| count.to_string());
        format!("{NAME}, {count} items of seed {}", self.recipe.seed)
    }

    fn identity(&self) -> String {
        format!("{NAME}, items of seed {}", self.recipe.seed)
    }

    fn start(&mut self, context: &SourceContext) {
        self.context = Some(context.clone());
    }

    fn partitions(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(vec![NAME.to_owned()])
    }

    fn open(
        &mut self,
        _index: usize,
        id: PartitionId,
        position: Option<&Position>,
    ) -> Result<(), SourceError> {
        let next = position.map(GeneratorPosition::read).transpose()?.map_or(0, |read| read.next);
        self.reading = Some(Reading { partition: id, next, since: None });
        Ok(())
    }

    fn next(&mut self, items_max: usize) -> Result<Option<Chunk>, SourceError> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let left = self.count.map_or(u64::MAX, |count| count.saturating_sub(reading.next));
        let mut most = left.min(items_max as u64);
        if most > 0
            && let (Some(rate), Some(context)) = (self.rate, &self.context)
        {
            match reading.wait(rate, context) {
                Some(due) => most = most.min(due),
                None => return Ok(None),
            }
        }
        if most == 0 {
            return Ok(None);
        }
        let items = usize::try_from(most).unwrap_or(items_max);
        let offset = reading.next;
        reading.next += most;
        if let Some((_, given)) = &mut reading.since {
            *given += most;
        }
        Ok(Some(Chunk {
            partition: reading.partition,
            offset,
            end: reading.next,
            line: offset + 1,
            items,
            weight: items.saturating_mul(self.recipe.item_bytes),
            content: ChunkContent::Bytes { bytes: Bytes::new(), unterminated: false },
        }))
    }

    fn decoder(&self) -> Arc<dyn Decode> {
        Arc::new(GeneratorDecoder(Arc::clone(&self.recipe)))
    }

    fn size_hint(&self) -> Option<u64> {
        None
    }

    fn reread(&mut self, _partition: &str, offset: u64, _bytes: u64) -> Result<Bytes, SourceError> {
        Ok(self.recipe.item(offset).to_bytes())
    }
}

impl Reading {
    /// Waits until an item is due, and tells how many are. `None` when the run drains.
    fn wait(&mut self, rate: f64, context: &SourceContext) -> Option<u64> {
        loop {
            let now = context.clock.now();
            let (since, given) = self.since.get_or_insert((now, 0));
            let behind = now.since(since.after(at_rate(*given, rate)));
            if behind > CATCH_UP {
                *since = since.after(behind.saturating_sub(CATCH_UP));
            }
            let due = due(now.since(*since), rate).saturating_sub(*given);
            if due > 0 {
                return Some(due);
            }
            let wait = since.after(at_rate(*given, rate)).since(now).max(Duration::from_nanos(1));
            let mut shutdown = context.shutdown.clone();
            let asked = context.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = shutdown.reached(Phase::Draining) => true,
                    () = context.clock.sleep(wait) => false,
                }
            });
            if asked {
                return None;
            }
        }
    }
}

/// When the item of this number is due, from the first on.
#[expect(clippy::cast_precision_loss, reason = "a run of 2^53 items does not end")]
fn at_rate(number: u64, rate: f64) -> Duration {
    // Rounded up to a nanosecond, so that at that moment the item counts as due.
    let nanos = (number as f64 / rate * 1e9).ceil();
    Duration::try_from_secs_f64(nanos / 1e9).unwrap_or(Duration::MAX)
}

/// How many items are due after this time, the first at once.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a product of positive numbers; what is beyond 64 bits becomes the largest number"
)]
fn due(elapsed: Duration, rate: f64) -> u64 {
    // The nanosecond that rounding may have taken off is given back.
    ((elapsed.as_secs_f64() + 1e-9) * rate) as u64 + 1
}

impl Recipe {
    fn new(seed: u64, fields: Vec<(String, GeneratorField)>) -> Self {
        let bytes = |(name, field): &(String, GeneratorField)| FIELD_BYTES + name.len() + field.bytes_max();
        let item_bytes = fields.iter().map(bytes).sum::<usize>().max(1);
        Self { seed, fields, item_bytes }
    }

    fn item(&self, number: u64) -> Record {
        let mut random = Random::seeded(mixed(self.seed, number));
        let mut record = RecordBuilder::with_capacities(128, self.fields.len());
        for (name, field) in &self.fields {
            field.add(name, number, &mut random, &mut record);
        }
        record.finish()
    }
}

/// A seed for each item. Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
/// figure 17: neighbours in, strangers out.
fn mixed(seed: u64, number: u64) -> u64 {
    const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix(mix(seed.wrapping_add(GOLDEN_GAMMA)) ^ number.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA))
}

#[derive(Debug)]
struct GeneratorDecoder(Arc<Recipe>);

impl Decode for GeneratorDecoder {
    fn decode(&self, chunk: &Chunk) -> Vec<Decoded> {
        (chunk.offset..chunk.end)
            .map(|number| {
                let record = self.0.item(number);
                Decoded { offset: number, line: number + 1, original: record.to_bytes(), record: Ok(record) }
            })
            .collect()
    }

    fn decode_original(&self, original: &Bytes) -> Result<Record, DecodeError> {
        let json = |source| DecodeError::Json { line: 1, cut_off: false, source };
        Record::parse(original.clone()).map_err(json)
    }

    fn position(&self, chunk: &Chunk, offset: Option<u64>) -> Position {
        GeneratorPosition { format: POSITION_FORMAT, next: offset.unwrap_or(chunk.end) }.write()
    }
}

impl GeneratorPosition {
    fn read(position: &Position) -> Result<Self, SourceError> {
        let unreadable = || SourceError::Position { text: position.as_str().chars().take(200).collect() };
        let read: Self = serde_json::from_str(position.as_str()).map_err(|_| unreadable())?;
        if read.format == POSITION_FORMAT { Ok(read) } else { Err(unreadable()) }
    }

    fn write(&self) -> Position {
        Position::new(serde_json::to_string(self).expect("a struct of numbers is always JSON"))
    }
}
