//! Short ways to say what the tests commit.

use std::sync::Arc;

use aqueduct_core::{
    Counts, ErrorClass, Fence, ItemId, PartitionId, Position, Revision, SourceId, Timestamp,
};
use aqueduct_store::{
    Advance, Claim, Claimed, Column, Commit, Conflict, DeadLetter, JournalEntry, Original, Rows, StateChange,
    Store, Table, Value,
};
use bytes::Bytes;

pub(crate) const PIPELINE: &str = "evidence";

pub(crate) async fn claim(store: &mut dyn Store, partitions: &[&str]) -> Claimed {
    let claim = Claim {
        pipeline: PIPELINE.to_owned(),
        partitions: partitions.iter().map(|name| (*name).to_owned()).collect(),
        configuration: "one".to_owned(),
        at: Timestamp(1_000),
    };
    store.claim(claim).await.expect("the claim succeeds")
}

pub(crate) fn epoch(fence: Fence) -> Commit {
    Commit::new(PIPELINE, fence, Timestamp(2_000))
}

pub(crate) fn advance(partition: u32, from: u64, to: &str) -> Advance {
    let next_item = ItemId::new(SourceId(0), PartitionId(partition), to.parse().unwrap_or_default());
    Advance {
        partition: PartitionId(partition),
        from: Revision(from),
        to: Position::new(to),
        next_item: next_item.to_string(),
    }
}

pub(crate) fn table(name: &str, columns: &[&str], conflict: Conflict) -> Arc<Table> {
    let columns = columns.iter().map(|name| Column { name: (*name).to_owned() }).collect();
    Arc::new(Table { name: name.to_owned(), columns, conflict })
}

/// Rows of one text each: item id and value.
pub(crate) fn rows(table: &Arc<Table>, values: &[(&str, &str)]) -> Rows {
    let mut rows = Rows::new(Arc::clone(table));
    for (item_id, value) in values {
        rows.push((*item_id).to_owned(), [text(value)]);
    }
    rows
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn read(items: u64) -> Counts {
    Counts { read: items, delivered: items, ..Counts::default() }
}

pub(crate) fn letter(item_id: &str, stage: &str) -> DeadLetter {
    DeadLetter {
        item_id: item_id.to_owned(),
        stage: stage.to_owned(),
        class: ErrorClass::Invalid,
        reason: format!("{item_id} has no coverage"),
        attempts: 1,
        children: 2,
        first: Timestamp(1_500),
        last: Timestamp(1_500),
        payload: Some(Bytes::from_static(b"{}")),
        original: Original::Whole(Bytes::from_static(b"{ }\r")),
    }
}

pub(crate) fn entry(item_id: &str, call: u32, value: &str) -> JournalEntry {
    JournalEntry { stage: "ask".to_owned(), item_id: item_id.to_owned(), call, value: value.into() }
}

pub(crate) fn change(key: &str, value: Option<&str>) -> StateChange {
    StateChange { stage: "window".to_owned(), key: key.into(), value: value.map(Into::into) }
}
