use std::borrow::Cow;
use std::sync::Arc;

use aqueduct_core::{Item, RecordBuilder};
use aqueduct_stream::{Outcome, Stage, StageError};

use crate::error::stage_error;
use crate::expression::Expression;

/// Lets a share of the items pass, chosen by a hash of their id or of a key: the same ones in every run.
pub(super) struct Sample {
    ratio: f64,
    seed: u64,
    key: Option<Arc<Expression>>,
}

impl Sample {
    pub(super) fn new(ratio: f64, seed: u64, key: Option<&Arc<Expression>>) -> Self {
        Self { ratio, seed, key: key.cloned() }
    }
}

impl Stage for Sample {
    fn apply(&self, item: &Item) -> Result<Outcome, StageError> {
        let text = match &self.key {
            None => item.id.to_string(),
            Some(key) => {
                // Written as JSON, so that the text "1" and the number 1 are two keys.
                let record = item.payload.record()?;
                let mut written = RecordBuilder::with_capacity(32);
                key.write(&record, "key", &mut written)
                    .map_err(|error| stage_error("key cannot be computed", error))?;
                written.finish().as_text().to_owned()
            }
        };
        match share(self.seed, text.as_bytes()) < self.ratio {
            true => Ok(Outcome::Keep),
            false => Ok(Outcome::Skip(Cow::Borrowed("it is not in the sample"))),
        }
    }
}

/// A number from 0 to just below 1 that depends on nothing but the seed and the text. It never changes between
/// versions, since a run that is resumed must go on with the sample it began.
///
/// FNV-1a (Fowler, Noll and Vo 1991) over the eight bytes of the seed, the lowest first, and the text; then the
/// finalizer of MurmurHash3 (Appleby 2011), since the high bits of FNV alone are poor on short texts that end
/// alike, such as ids. The highest 53 bits are the number.
fn share(seed: u64, text: &[u8]) -> f64 {
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = seed.to_le_bytes();
    let mut hash = bytes
        .iter()
        .chain(text)
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    let share = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    share
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_sample_is_the_same_for_ever_and_as_large_as_asked() {
        // A change of these numbers changes the sample of every pipeline that is half done.
        let numbers: Vec<String> =
            ["a0a0a0", "a0a0b12"].iter().map(|id| format!("{:.6}", share(7, id.as_bytes()))).collect();
        assert_eq!(numbers, ["0.660129", "0.157936"]);
        for (seed, ratio) in [(0, 0.1), (1, 0.1), (0, 0.5), (9, 0.99)] {
            let kept = (0..20_000).filter(|n| share(seed, format!("a0a0e{n:05}").as_bytes()) < ratio).count();
            let expected = 20_000.0 * ratio;
            assert!((kept as f64 - expected).abs() < 300.0, "{kept} of {expected}");
        }
    }
}
