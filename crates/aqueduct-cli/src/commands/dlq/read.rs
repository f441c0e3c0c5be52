//! Reads dead letters page by page, so that a million of them take no more memory than a hundred.

use aqueduct_orchestrator::{InspectError, Inspection};
use aqueduct_store::{DeadLetter, DeadLetterFilter};

/// How many letters are held at once: at most some 13 MB, since an original has 64 KiB at most, and few payloads more.
const PAGE: u64 = 100;

/// The pages of a filter, in the order of the input.
pub(super) struct Pages {
    filter: DeadLetterFilter,
    left: u64,
}

impl Pages {
    pub(super) fn new(filter: DeadLetterFilter, limit: Option<u64>) -> Self {
        Self { filter, left: limit.unwrap_or(u64::MAX) }
    }

    /// The next page; empty at the end.
    pub(super) async fn next(&mut self, ledger: &mut Inspection) -> Result<Vec<DeadLetter>, InspectError> {
        let Some(filter) = self.filter() else { return Ok(Vec::new()) };
        let page = ledger.dead_letters(filter).await?;
        let last = page.last().map(|letter| (letter.item_id.clone(), letter.stage.clone()));
        self.took(page.len() as u64, last);
        Ok(page)
    }

    /// The filter of the next page; none when the limit is reached.
    pub(super) fn filter(&self) -> Option<DeadLetterFilter> {
        let limit = usize::try_from(self.left.min(PAGE)).unwrap_or(usize::MAX);
        (limit > 0).then(|| DeadLetterFilter { limit: Some(limit), ..self.filter.clone() })
    }

    /// Notes that a page was taken, and the last letter of it.
    pub(super) fn took(&mut self, letters: u64, last: Option<(String, String)>) {
        self.left = if last.is_some() { self.left.saturating_sub(letters) } else { 0 };
        self.filter.after = last;
    }
}
