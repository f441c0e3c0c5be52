//! How a job ended.

use aqueduct_retry::Ended;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the result that is in the reply.
    Done,
    /// With the error that is in the reply.
    Failed(Ended),
    Panicked(String),
    Late {
        abandoned: bool,
    },
    Cancelled {
        abandoned: bool,
    },
}
