use std::collections::BTreeMap;

/// What a pipeline would do with the first items of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The items, in the order of the input.
    pub items: Vec<PreviewItem>,
    /// How many partitions the input has.
    pub partitions: usize,
}

/// One item on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewItem {
    /// Its id.
    pub id: String,
    /// The bytes that it came as, as text.
    pub original: String,
    /// Why it is no record and what becomes of it; empty for a record.
    pub refused: Vec<String>,
    /// The stages that it, or what was made of it, came to.
    pub steps: Vec<PreviewStep>,
    /// By sink, what would be written, as JSON.
    pub delivered: BTreeMap<String, Vec<String>>,
    /// What would go wrong at the sinks; nothing of the item is written then.
    pub at_sinks: Vec<String>,
}

/// What one stage makes of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewStep {
    /// The stage.
    pub stage: String,
    /// What came to it.
    pub before: Vec<Shown>,
    /// What it gave.
    pub after: Vec<Shown>,
    /// What else happened: skipped, dead letter with its reason, or that the run would stop.
    pub news: Vec<String>,
}

/// One item at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// The branch or sink that it is on its way to; the main way without one.
    pub way: Option<String>,
    /// Its payload as JSON.
    pub payload: String,
}
