//! A partitioned workload: one function over the parts of a data set, on a pool, with an account of where the time went.

mod report;
mod run;

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::JobError;
use crate::limits::Limits;

pub use report::WorkloadReport;

/// How a workload is run.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Into how many parts the data is cut, of sizes that differ by one at most. From 1; never more than there are items.
    /// Several for each worker even out parts that take longer.
    pub partitions: usize,
    /// What the run may use. Its retries are those of all partitions together.
    pub limits: Limits,
}

/// A part of the data, as the function gets it.
#[derive(Debug)]
pub struct Partition<T> {
    /// Its number, from 0.
    pub index: usize,
    /// Its items.
    pub items: Items<T>,
    /// The number of the first of them in the whole data set.
    pub first: usize,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether the work is to end. It is asked to when a limit is reached and when the run is asked to stop.
    pub cancel: Cancel,
}

/// The items of a partition: a slice that keeps the data alive, so that a future can hold it. Cheap to clone.
#[derive(Debug)]
pub struct Items<T> {
    data: Arc<[T]>,
    range: Range<usize>,
}

impl<T> Deref for Items<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // It lies within the data, of which it was cut.
        self.data.get(self.range.clone()).unwrap_or_default()
    }
}

impl<T> Clone for Items<T> {
    fn clone(&self) -> Self {
        Self { data: Arc::clone(&self.data), range: self.range.clone() }
    }
}

/// What came of a workload.
#[derive(Debug)]
pub struct Mapped<R, E> {
    /// The result of each partition, or why there is none, in the order of the data.
    pub results: Vec<Result<R, PartitionError<E>>>,
    /// Where the time went.
    pub report: WorkloadReport,
}

/// Why a partition has no result.
#[derive(Debug)]
pub struct PartitionError<E> {
    /// Its items.
    pub items: Range<usize>,
    /// What came of its job; with [`JobError::Cancelled`] and no attempts, the run ended before its turn.
    pub error: JobError<E>,
}
