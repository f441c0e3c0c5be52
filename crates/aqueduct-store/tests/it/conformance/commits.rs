use std::sync::Arc;

use aqueduct_core::{Counts, PartitionId, Position, Revision};
use aqueduct_store::{Commit, CommitError, Conflict, FileMark, Ledger, Rows, Store, Table, Value};

use super::epoch::{PIPELINE, advance, change, claim, entry, epoch, letter, read, rows, table, text};
use crate::place::Place;

async fn ledger(store: &mut dyn Store) -> Ledger {
    store.ledger(PIPELINE).await.expect("readable").expect("claimed")
}

/// An epoch that touches everything.
fn full_epoch(fence: aqueduct_core::Fence, from: u64, results: &Arc<Table>, item_id: &str) -> Commit {
    let mut commit = epoch(fence);
    commit.tables.push(results.as_ref().clone());
    commit.rows.push(rows(results, &[(item_id, "v")]));
    commit.dead_letters.push(letter(item_id, "score"));
    commit.state.push(change(item_id, Some("s")));
    commit.consumed.push(item_id.to_owned());
    commit.files.push(FileMark { sink: "alerts".to_owned(), part: item_id.to_owned(), bytes: 7, items: 1 });
    commit.advances.push(advance(0, from, item_id));
    commit.counts = read(1);
    commit.checkpoint = Some(item_id.to_owned());
    commit
}

/// Everything that can be read.
async fn everything(store: &mut dyn Store, place: &impl Place) -> String {
    let ledger = ledger(store).await;
    let letters = store.dead_letters(PIPELINE, Default::default()).await.expect("readable");
    let state = store.state(PIPELINE, "window", None, 100).await.expect("readable");
    let journal = store.journalled(PIPELINE).await.expect("readable");
    let checkpoints = store.checkpoints(PIPELINE).await.expect("readable");
    let rows = place.rows("results", &["value"]).await;
    format!("{ledger:#?} {letters:#?} {state:?} {journal:?} {checkpoints:#?} {rows:?}")
}

pub(super) async fn a_commit_moves_position_and_revision(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a", "b"]).await.fence;
    for (from, to) in [(0, "10"), (1, "20")] {
        let mut commit = epoch(fence);
        commit.advances.push(advance(1, from, to));
        store.commit(commit).await.expect("the commit succeeds");
    }
    let ledger = ledger(store.as_mut()).await;
    assert_eq!(ledger.epoch, 2);
    assert_eq!((&ledger.partitions[0].position, ledger.partitions[0].revision), (&None, Revision(0)));
    assert_eq!(ledger.partitions[1].position, Some(Position::new("20")));
    assert_eq!(ledger.partitions[1].revision, Revision(2));
}

pub(super) async fn a_repeated_commit_changes_nothing(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    let mut commit = full_epoch(fence, 0, &results, "i1");
    // Without rows nothing but the revision can tell the two commits apart.
    commit.rows.clear();
    store.commit(commit.clone()).await.expect("the commit succeeds");
    let before = everything(store.as_mut(), place).await;
    match store.commit(commit).await {
        Err(CommitError::Conflict { partition, expected }) => {
            assert_eq!((partition, expected), (PartitionId(0), Revision(0)));
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(everything(store.as_mut(), place).await, before);
}

pub(super) async fn a_stale_revision_is_a_conflict(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    for from in [1, u64::MAX >> 1] {
        let mut commit = epoch(fence);
        commit.advances.push(advance(0, from, "10"));
        let refused = store.commit(commit).await;
        assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(ledger(store.as_mut()).await.epoch, 0);
}

pub(super) async fn an_unknown_partition_is_a_conflict(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let mut commit = epoch(fence);
    commit.advances.push(advance(1, 0, "10"));
    let refused = store.commit(commit).await;
    assert!(matches!(refused, Err(CommitError::Conflict { partition: PartitionId(1), .. })), "{refused:?}");
}

pub(super) async fn several_partitions_move_together_or_not_at_all(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a", "b"]).await.fence;
    let mut commit = epoch(fence);
    commit.advances = vec![advance(0, 0, "10"), advance(1, 1, "stale")];
    let refused = store.commit(commit).await;
    assert!(matches!(refused, Err(CommitError::Conflict { partition: PartitionId(1), .. })), "{refused:?}");
    assert!(ledger(store.as_mut()).await.partitions.iter().all(|known| known.position.is_none()));

    let mut commit = epoch(fence);
    commit.advances = vec![advance(0, 0, "10"), advance(1, 0, "20")];
    store.commit(commit).await.expect("the commit succeeds");
    let moved = ledger(store.as_mut()).await;
    assert_eq!(moved.partitions[0].position, Some(Position::new("10")));
    assert_eq!(moved.partitions[1].position, Some(Position::new("20")));
    assert_eq!(moved.epoch, 1);
}

pub(super) async fn a_refused_row_takes_the_whole_epoch_back(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    store.commit(full_epoch(fence, 0, &results, "i1")).await.expect("the commit succeeds");
    store.journal(PIPELINE, fence, vec![entry("i2", 0, "paid")]).await.expect("journalled");
    let before = everything(store.as_mut(), place).await;

    let mut commit = full_epoch(fence, 1, &results, "i2");
    commit.rows.push(rows(&results, &[("i3", "new"), ("i1", "there already")]));
    match store.commit(commit).await {
        Err(CommitError::DuplicateRow { table, .. }) => assert_eq!(table, "results"),
        other => panic!("expected a duplicate row, got {other:?}"),
    }
    assert_eq!(everything(store.as_mut(), place).await, before);
}

pub(super) async fn a_refused_table_takes_the_whole_epoch_back(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    store.commit(full_epoch(fence, 0, &results, "i1")).await.expect("the commit succeeds");
    let before = everything(store.as_mut(), place).await;

    let mut commit = full_epoch(fence, 1, &table("fresh", &["value"], Conflict::Refuse), "i2");
    commit.tables.push(table("results", &["other"], Conflict::Refuse).as_ref().clone());
    let refused = store.commit(commit).await;
    assert!(matches!(refused, Err(CommitError::Columns { .. })), "{refused:?}");
    assert_eq!(everything(store.as_mut(), place).await, before);
    assert_eq!(store.table("fresh").await.expect("readable"), None);
}

pub(super) async fn a_missing_table_takes_the_whole_epoch_back(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    store.commit(full_epoch(fence, 0, &results, "i1")).await.expect("the commit succeeds");
    let before = everything(store.as_mut(), place).await;

    let mut commit = full_epoch(fence, 1, &results, "i2");
    commit.rows.push(rows(&table("nowhere", &["value"], Conflict::Refuse), &[("i3", "v")]));
    let refused = store.commit(commit).await;
    assert!(matches!(refused, Err(CommitError::Backend(_))), "{refused:?}");
    assert_eq!(everything(store.as_mut(), place).await, before);
}

pub(super) async fn the_store_goes_on_after_a_refused_epoch(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let results = table("results", &["value"], Conflict::Refuse);
    store.commit(full_epoch(fence, 0, &results, "i1")).await.expect("the commit succeeds");
    store.commit(full_epoch(fence, 1, &results, "i1")).await.expect_err("the row is there already");
    store.commit(full_epoch(fence, 1, &results, "i2")).await.expect("the commit succeeds");
    let rows = place.rows("results", &["value"]).await;
    assert_eq!(rows, [[text("i1"), text("v")], [text("i2"), text("v")]]);
}

pub(super) async fn counts_add_up_over_epochs_and_runs(place: &impl Place) {
    let mut store = place.open().await;
    let one = Counts {
        read: 1,
        spawned: 2,
        delivered: 3,
        dead_lettered: 4,
        skipped: 5,
        absorbed: 6,
        dropped: 7,
        abandoned: 8,
        in_flight: 9,
    };
    let mut total = Counts::default();
    for _ in 0..2 {
        // Nobody works any more on what an older run left in flight.
        total.abandoned += std::mem::take(&mut total.in_flight);
        let fence = claim(store.as_mut(), &["a"]).await.fence;
        for _ in 0..2 {
            store.commit(Commit { counts: one, ..epoch(fence) }).await.expect("the commit succeeds");
            total += one;
        }
    }
    let ledger = ledger(store.as_mut()).await;
    assert_eq!(ledger.counts, total);
    assert_eq!(ledger.epoch, 4);
}

pub(super) async fn file_marks_replace_earlier_ones(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let mark = |sink: &str, part: &str, bytes| FileMark {
        sink: sink.into(),
        part: part.into(),
        bytes,
        items: bytes / 2,
    };
    let first = vec![mark("b", "1", 0), mark("a", "2", 0), mark("a", "1", 0)];
    store.commit(Commit { files: first, ..epoch(fence) }).await.expect("the commit succeeds");
    let second = vec![mark("a", "2", 10), mark("b", "1", 1 << 40)];
    store.commit(Commit { files: second, ..epoch(fence) }).await.expect("the commit succeeds");
    let files = ledger(store.as_mut()).await.files;
    assert_eq!(files, [mark("a", "1", 0), mark("a", "2", 10), mark("b", "1", 1 << 40)]);
}

pub(super) async fn an_epoch_of_any_size_is_written_whole(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let mut total = 0_i64;
    let results = table("results", &["value"], Conflict::Refuse);
    // Around the sizes at which a backend may cut its statements.
    for (from, size) in [0, 1, 2, 3, 255, 1_023, 1_024, 1_025, 2_500].into_iter().enumerate() {
        let mut commit = epoch(fence);
        commit.tables.push(results.as_ref().clone());
        let mut more = Rows::new(Arc::clone(&results));
        for _ in 0..size {
            more.push(format!("i{total:06}"), [Value::Integer(total)]);
            total += 1;
        }
        assert_eq!((more.len(), more.is_empty()), (size, size == 0));
        commit.rows.push(more);
        commit.advances.push(advance(0, from as u64, &total.to_string()));
        store.commit(commit).await.expect("the commit succeeds");
    }
    let rows = place.rows("results", &["value"]).await;
    let wanted: Vec<Vec<Value>> =
        (0..total).map(|number| vec![text(&format!("i{number:06}")), Value::Integer(number)]).collect();
    assert_eq!(rows, wanted);
}

pub(super) async fn what_was_in_flight_lands_or_is_abandoned(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let ahead = Counts { read: 5, in_flight: 5, ..Counts::default() };
    store.commit(Commit { counts: ahead, ..epoch(fence) }).await.expect("the commit succeeds");
    let landed = Counts { delivered: 3, ..Counts::default() };
    store.commit(Commit { counts: landed, landed: 3, ..epoch(fence) }).await.expect("the commit succeeds");
    let counts = store.ledger(PIPELINE).await.expect("readable").expect("claimed above").counts;
    assert_eq!((counts.delivered, counts.in_flight, counts.abandoned), (3, 2, 0));
    let counts = claim(store.as_mut(), &[]).await.ledger.counts;
    assert_eq!((counts.in_flight, counts.abandoned), (0, 2));
    counts.check().expect("it balances");
}

pub(super) async fn a_table_of_our_own_takes_new_columns_where_that_is_asked(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let narrow = table("t", &["a"], Conflict::Refuse);
    let mut commit = Commit { tables: vec![(*narrow).clone()], ..epoch(fence) };
    commit.rows = vec![rows(&narrow, &[("a0a0a1", "1")])];
    store.commit(commit).await.expect("the commit succeeds");
    let other = table("t", &["b"], Conflict::Refuse);
    let commit = Commit { tables: vec![(*other).clone()], ..epoch(fence) };
    store.commit(commit.clone()).await.expect_err("there is no column b");
    let mut commit = Commit { widen: true, ..commit };
    commit.rows = vec![rows(&other, &[("a0a0a2", "2")])];
    store.commit(commit).await.expect("the commit succeeds");
    let (item, value) =
        (|item: &str| Value::Text(item.to_owned()), |value: &str| Value::Text(value.to_owned()));
    let wanted = [[item("a0a0a1"), value("1"), Value::Null], [item("a0a0a2"), Value::Null, value("2")]];
    assert_eq!(place.rows("t", &["a", "b"]).await, wanted);
}
