//! The thread that writes: whatever waits becomes one transaction and one sync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use aqueduct_core::Clock;
use crossbeam_channel::Receiver;
use redb::Database;

use crate::error::Broken;
use crate::log::tell_all;

use super::Shared;
use super::company::{Company, Pending};
use super::failure::{Failure, caught};
use super::record::Meta;
use super::tables::{self, Row};

/// Above this size redb writes what it needs to open a file quickly after a crash with each commit, which makes a
/// commit about 1.8 times as slow. Below, it looks at the whole file instead, a second for a gibibyte.
pub(super) const LARGE_BYTES: u64 = 1024 * 1024 * 1024;

/// Remembered ids that are looked at in each commit, beside two for each that was added: so the walk through all of
/// them is always faster than they become more.
const SWEEP_ITEMS: usize = 8;
/// Commits between two of these walks, since each opens a table.
const SWEEP_EVERY: u64 = 16;

/// What the thread has for itself.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) meta: Meta,
    /// Where the walk through the remembered ids has come to, and how many were added since.
    pub(super) swept: Vec<u8>,
    pub(super) added: usize,
}

impl Committer {
    /// Writes until nobody can hand in anything more, then closes the file.
    pub(super) fn run(mut self, queue: &Receiver<Pending>) {
        // The first write of a quiet store is written at once, and what comes while it is synced is the next commit.
        let mut company = Company::default();
        while let Ok(first) = queue.recv() {
            let writes = company.gather(first, queue, &self.clock);
            let told = writes.len();
            self.write(writes);
            company.told(told, queue.len());
        }
        self.shared.close_file();
    }

    fn write(&mut self, writes: Vec<Pending>) {
        let result = match self.shared.broken() {
            Some(broken) => Err(broken),
            None => self.commit(&writes),
        };
        if result.is_ok() {
            let rows = || writes.iter().flat_map(|write| &write.rows);
            self.shared.remember(rows());
            if let Err(error) = self.shared.attempts().committed(self.meta.sequence, rows()) {
                // These are safe; the next one could not be told from it.
                self.shared.break_with("a write beside", Failure::from(error).text().to_owned());
            }
        }
        // A caller that panics must not take the others with it.
        let end = |write: Pending| catch_unwind(AssertUnwindSafe(|| (write.done)(result.clone()))).ok();
        tell_all(writes.into_iter().filter_map(end).collect());
    }

    fn commit(&mut self, writes: &[Pending]) -> Result<(), Broken> {
        let mut meta = self.meta;
        let committed =
            self.shared.with_database(|database| caught(|| self.transaction(database, writes, &mut meta)));
        match committed {
            Ok((swept, added)) => {
                (self.meta, self.swept, self.added) = (meta, swept, added);
                Ok(())
            }
            Err(failure) => Err(self.shared.break_with("a commit", failure.text().to_owned())),
        }
    }

    fn transaction(
        &self,
        database: &Database,
        writes: &[Pending],
        meta: &mut Meta,
    ) -> Result<(Vec<u8>, usize), Failure> {
        // Its durability is `Immediate`, as every transaction's of redb that says nothing else: the commit syncs.
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(self.shared.is_large());
        let rows = || writes.iter().flat_map(|write| &write.rows);
        tables::apply(&transaction, rows(), meta)?;
        let mut added = self.added + rows().filter(|row| matches!(row, Row::Remember(..))).count();
        let mut swept = None;
        if meta.remembered > 0 && meta.sequence.is_multiple_of(SWEEP_EVERY) {
            let items = SWEEP_ITEMS * usize::try_from(SWEEP_EVERY).unwrap_or(1) + 2 * added;
            added = 0;
            swept = Some(tables::sweep(&transaction, &self.swept, items, self.clock.wall(), meta)?);
        }
        tables::advance(&transaction, meta)?;
        transaction.commit()?;
        Ok((swept.unwrap_or_else(|| self.swept.clone()), added))
    }
}
