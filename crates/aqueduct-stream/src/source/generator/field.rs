use std::str::FromStr;

use aqueduct_core::{Random, RecordBuilder};

use crate::error::ConfigError;

/// What a field of a made-up item holds. Written as a word and its arguments, such as `integer 0 100`.
#[derive(Clone, Debug, PartialEq)]
pub enum GeneratorField {
    /// `sequence` or `sequence FIRST`: the number of the item, counted from 0 or from `FIRST`.
    Sequence {
        /// The first.
        first: i64,
    },
    /// `integer LEAST MOST`: an integer, both ends included.
    Integer {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
    },
    /// `float LEAST MOST`: a number, the upper end left out.
    Float {
        /// The least.
        least: f64,
        /// What it stays below.
        below: f64,
    },
    /// `boolean` or `boolean RATIO`: true for half of the items, or for this share of them.
    Boolean {
        /// The share that is true, from 0 to 1.
        ratio: f64,
    },
    /// `choice A B C`: one of these words.
    Choice {
        /// The words.
        words: Vec<String>,
    },
    /// `words LEAST MOST`: a text of so many words.
    Words {
        /// The fewest words.
        least: u64,
        /// The most words.
        most: u64,
    },
    /// `hex DIGITS`: a text of so many hexadecimal digits.
    Hex {
        /// How many digits.
        digits: u64,
    },
}

/// The longest text that a field may have, in words or digits; items are to be carried, not to fill memory.
const LENGTH_MAX: u64 = 10_000;

/// Made-up texts are made of these. Sixty-four, so that six bits choose one.
const WORDS: [&str; 64] = [
    "alert", "anchor", "basin", "beacon", "bridge", "canal", "cargo", "channel", "cliff", "cloud", "coast",
    "copper", "current", "dam", "delta", "depth", "drift", "dune", "engine", "estuary", "falls", "ferry",
    "flood", "flow", "ford", "fountain", "gate", "glacier", "gravel", "harbour", "iron", "island", "lagoon",
    "lake", "ledge", "level", "lock", "marsh", "meadow", "mill", "mist", "moor", "ocean", "pebble", "pier",
    "pond", "pump", "rain", "rapid", "reed", "ridge", "river", "sand", "shore", "silt", "sluice", "spring",
    "stone", "stream", "tide", "valve", "water", "wave", "weir",
];

impl GeneratorField {
    /// What can be written, for messages and the reference.
    pub const FORMS: &'static str = "sequence [FIRST], integer LEAST MOST, float LEAST BELOW, boolean [RATIO], choice WORD \
                                     WORD.., words LEAST MOST, hex DIGITS";

    /// About the most bytes that a value takes.
    pub(super) fn bytes_max(&self) -> usize {
        /// The longest of the words, and the space behind it.
        const WORD_BYTES: usize = 9;
        let long = |count: &u64| usize::try_from(*count).unwrap_or(usize::MAX);
        match self {
            Self::Sequence { .. } | Self::Integer { .. } => 20,
            Self::Float { .. } => 24,
            Self::Boolean { .. } => 5,
            Self::Choice { words } => words.iter().map(String::len).max().unwrap_or(0),
            Self::Words { most, .. } => long(most).saturating_mul(WORD_BYTES),
            Self::Hex { digits } => long(digits),
        }
    }

    pub(super) fn add(&self, name: &str, number: u64, random: &mut Random, record: &mut RecordBuilder) {
        match self {
            Self::Sequence { first } => record.integer(name, first.wrapping_add_unsigned(number)),
            Self::Integer { least, most } => {
                let width = most.abs_diff(*least);
                // A width of all 64 bits has one value more than a number can say; it goes without the last.
                let above = random.below(width.saturating_add(1));
                record.integer(name, least.wrapping_add_unsigned(above));
            }
            Self::Float { least, below } => record.float(name, least + random.unit() * (below - least)),
            Self::Boolean { ratio } => record.boolean(name, random.unit() < *ratio),
            Self::Choice { words } => {
                let at = usize::try_from(random.below(words.len() as u64)).unwrap_or(0);
                record.text(name, words.get(at).map_or("", String::as_str));
            }
            Self::Words { least, most } => {
                let count = least + random.below(most - least + 1);
                let mut text = String::new();
                for at in 0..count {
                    let word = usize::try_from(random.below(WORDS.len() as u64)).unwrap_or(0);
                    if at > 0 {
                        text.push(' ');
                    }
                    text.push_str(WORDS[word]);
                }
                record.text(name, &text);
            }
            Self::Hex { digits } => {
                let digit =
                    |_| u32::try_from(random.below(16)).ok().and_then(|digit| char::from_digit(digit, 16));
                let text: String = (0..*digits).filter_map(digit).collect();
                record.text(name, &text);
            }
        }
    }
}

impl FromStr for GeneratorField {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = |expected: &str| ConfigError::Value {
            field: "field".to_owned(),
            value: format!("{text:?}"),
            expected: expected.to_owned(),
        };
        let mut words = text.split_ascii_whitespace();
        let kind = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        match (kind, rest.as_slice()) {
            ("sequence", []) => Ok(Self::Sequence { first: 0 }),
            ("sequence", [first]) => match first.parse() {
                Ok(first) => Ok(Self::Sequence { first }),
                Err(_) => Err(wrong("sequence and an integer")),
            },
            ("integer", [least, most]) => match (least.parse(), most.parse()) {
                (Ok(least), Ok(most)) if least <= most => Ok(Self::Integer { least, most }),
                _ => Err(wrong("integer and two integers, the smaller one first")),
            },
            ("float", [least, below]) => match (least.parse::<f64>(), below.parse::<f64>()) {
                (Ok(least), Ok(below)) if least <= below && (below - least).is_finite() => {
                    Ok(Self::Float { least, below })
                }
                _ => Err(wrong("float and two numbers, the smaller one first")),
            },
            ("boolean", []) => Ok(Self::Boolean { ratio: 0.5 }),
            ("boolean", [ratio]) => match ratio.parse() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Self::Boolean { ratio }),
                _ => Err(wrong("boolean and a number from 0 to 1")),
            },
            ("choice", [_, ..]) => {
                Ok(Self::Choice { words: rest.iter().map(|word| (*word).to_owned()).collect() })
            }
            ("words", [least, most]) => match (least.parse(), most.parse()) {
                (Ok(least), Ok(most)) if least <= most && most <= LENGTH_MAX => {
                    Ok(Self::Words { least, most })
                }
                _ => Err(wrong("words and two integers from 0 to 10000, the smaller one first")),
            },
            ("hex", [digits]) => match digits.parse() {
                Ok(digits) if digits <= LENGTH_MAX => Ok(Self::Hex { digits }),
                _ => Err(wrong("hex and an integer from 0 to 10000")),
            },
            _ => Err(wrong(&format!("one of {}", Self::FORMS))),
        }
    }
}
