//! Calls over HTTP: for each item, for the pages of a list, and with results.

pub(crate) mod answer;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod stage;
