use crate::Definition;

/// The label sets that a family refused because it was full, by the name of that family.
///
/// A rate above zero says that some label does not come from a small closed set.
pub const REJECTED_SETS: Definition = Definition {
    name: "aqueduct_metrics_rejected_sets_total",
    help: "Label sets that a full family counted under its overflow series.",
    labels: &["metric"],
};
