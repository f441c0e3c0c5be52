use aqueduct_core::{Classified, ErrorClass};

/// Bytes that are not a set of finished numbers.
///
/// Nothing is read of them. What was finished is not known then, so all of it has to be done again, or an older copy read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishedError {
    /// They are cut off.
    #[error("the set of finished numbers is cut off")]
    Short,
    /// They are not what was written.
    #[error(
        "the set of finished numbers is damaged: its checksum is {found:08x} and should be {expected:08x}"
    )]
    Checksum {
        /// The checksum of what is there.
        found: u32,
        /// The checksum of what was written.
        expected: u32,
    },
    /// A newer build wrote them.
    #[error("the set of finished numbers has format {found}, and this aqueduct reads {supported}")]
    Format {
        /// Their format.
        found: u8,
        /// The format that this build reads.
        supported: u8,
    },
    /// The bitmap is not one.
    #[error("the bitmap of finished numbers cannot be read")]
    Bitmap(#[source] std::io::Error),
    /// The bitmap says that numbers below the frontier, or the frontier itself, are finished out of order.
    #[error("the frontier of the finished numbers does not agree with their bitmap")]
    Frontier,
}

impl Classified for FinishedError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}
