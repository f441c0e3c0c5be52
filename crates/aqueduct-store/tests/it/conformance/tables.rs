use std::sync::Arc;

use aqueduct_store::{Commit, CommitError, Conflict, FoundTable, Rows, Store, Table, Value};

use super::epoch::{PIPELINE, claim, epoch, rows, table, text};
use crate::place::Place;

/// Commits rows of one column and says what came of it.
async fn write(
    store: &mut dyn Store,
    table: &Arc<Table>,
    values: &[(&str, &str)],
) -> Result<(), CommitError> {
    let fence = claim(store, &[]).await.fence;
    let tables = vec![table.as_ref().clone()];
    store.commit(Commit { tables, rows: vec![rows(table, values)], ..epoch(fence) }).await
}

pub(super) async fn values_are_kept_exactly(place: &impl Place) {
    let values = vec![
        Value::Null,
        Value::Integer(0),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Integer((1 << 53) + 1),
        Value::Real(0.0),
        Value::Real(-0.0),
        Value::Real(1.0),
        Value::Real(0.1 + 0.2),
        Value::Real(f64::MIN_POSITIVE / 3.0),
        Value::Real(f64::MAX),
        Value::Real(f64::NEG_INFINITY),
        text(""),
        text("1"),
        text("1.0"),
        text("null"),
        text("a\0b"),
        text("'; drop table results; --\"\\"),
        text("\u{feff}Grüße 🌊\r\n\u{2028}"),
        text(&"long ".repeat(20_000)),
    ];
    let results = table("results", &["value"], Conflict::Refuse);
    let mut written = Rows::new(Arc::clone(&results));
    for (at, value) in values.iter().enumerate() {
        written.push(format!("i{at:02}"), [value.clone()]);
    }
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let tables = vec![results.as_ref().clone()];
    store.commit(Commit { tables, rows: vec![written], ..epoch(fence) }).await.expect("the commit succeeds");

    let kept = place.rows("results", &["value"]).await;
    assert_eq!(kept.len(), values.len());
    for (row, value) in kept.iter().zip(&values) {
        match (&row[1], value) {
            // Bit for bit: `==` would take the two zeros for one.
            (Value::Real(kept), Value::Real(value)) => assert_eq!(kept.to_bits(), value.to_bits()),
            (kept, value) => assert_eq!(kept, value),
        }
    }
}

pub(super) async fn what_is_not_a_number_is_kept_as_nothing(place: &impl Place) {
    let results = table("results", &["value"], Conflict::Refuse);
    let mut written = Rows::new(Arc::clone(&results));
    written.push("i1".to_owned(), [Value::Real(f64::NAN)]);
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let tables = vec![results.as_ref().clone()];
    store.commit(Commit { tables, rows: vec![written], ..epoch(fence) }).await.expect("the commit succeeds");
    assert_eq!(place.rows("results", &["value"]).await, [[text("i1"), Value::Null]]);
}

pub(super) async fn any_name_is_a_name(place: &impl Place) {
    for name in ["select", "two words", "a\"b", "semi;colon", "Größe", "1st", "a.b", "'"] {
        let results = table(name, &[name], Conflict::Refuse);
        let mut store = place.open().await;
        write(store.as_mut(), &results, &[("i1", "v")]).await.expect("the commit succeeds");
        assert_eq!(place.rows(name, &[name]).await, [[text("i1"), text("v")]]);
        let found = store.table(name).await.expect("readable").expect("made above");
        assert_eq!(found.columns, [name]);
    }
}

pub(super) async fn a_row_with_the_same_item_is_refused(place: &impl Place) {
    let mut store = place.open().await;
    let results = table("results", &["value"], Conflict::Refuse);
    write(store.as_mut(), &results, &[("i1", "first")]).await.expect("the commit succeeds");
    for again in [&[("i1", "second")][..], &[("i2", "first"), ("i2", "second")]] {
        let refused = write(store.as_mut(), &results, again).await;
        assert!(matches!(refused, Err(CommitError::DuplicateRow { .. })), "{refused:?}");
    }
    assert_eq!(place.rows("results", &["value"]).await, [[text("i1"), text("first")]]);
}

pub(super) async fn a_row_with_the_same_item_replaces_where_that_is_asked(place: &impl Place) {
    let mut store = place.open().await;
    let results = table("results", &["value"], Conflict::ReplaceByItem);
    write(store.as_mut(), &results, &[("i1", "first"), ("i2", "kept")]).await.expect("the commit succeeds");
    write(store.as_mut(), &results, &[("i1", "second"), ("i1", "third")]).await.expect("the commit succeeds");
    assert_eq!(
        place.rows("results", &["value"]).await,
        [[text("i1"), text("third")], [text("i2"), text("kept")]]
    );
}

pub(super) async fn a_row_with_the_same_key_replaces_and_the_last_one_wins(place: &impl Place) {
    let results = table("results", &["id", "value"], Conflict::ReplaceBy("id".to_owned()));
    let mut store = place.open().await;
    for epochs in [[("i1", "a", 1), ("i2", "b", 2)], [("i3", "a", 3), ("i4", "a", 4)]] {
        let fence = claim(store.as_mut(), &[]).await.fence;
        let mut written = Rows::new(Arc::clone(&results));
        for (item_id, key, value) in epochs {
            written.push(item_id.to_owned(), [text(key), Value::Integer(value)]);
        }
        let tables = vec![results.as_ref().clone()];
        store
            .commit(Commit { tables, rows: vec![written], ..epoch(fence) })
            .await
            .expect("the commit succeeds");
    }
    assert_eq!(
        place.rows("results", &["id", "value"]).await,
        [[text("i2"), text("b"), Value::Integer(2)], [text("i4"), text("a"), Value::Integer(4)]]
    );
}

pub(super) async fn a_row_without_its_key_is_refused(place: &impl Place) {
    let results = table("results", &["id"], Conflict::ReplaceBy("id".to_owned()));
    let mut store = place.open().await;
    for nothing in [Value::Null, Value::Real(f64::NAN)] {
        let fence = claim(store.as_mut(), &[]).await.fence;
        let mut written = Rows::new(Arc::clone(&results));
        written.push("i1".to_owned(), [text("a")]);
        written.push("i2".to_owned(), [nothing]);
        let tables = vec![results.as_ref().clone()];
        match store.commit(Commit { tables, rows: vec![written], ..epoch(fence) }).await {
            Err(CommitError::KeyMissing { table, column, item_id }) => {
                assert_eq!((table.as_str(), column.as_str(), item_id.as_str()), ("results", "id", "i2"));
            }
            other => panic!("expected a missing key, got {other:?}"),
        }
    }
    assert_eq!(store.table("results").await.expect("readable"), None);
}

pub(super) async fn a_table_with_the_same_columns_is_adopted_in_any_order(place: &impl Place) {
    let mut store = place.open().await;
    let theirs = Commit::new("other", aqueduct_core::Fence(1), aqueduct_core::Timestamp(0));
    let other = aqueduct_store::Claim { pipeline: "other".to_owned(), ..Default::default() };
    store.claim(other).await.expect("the claim succeeds");
    let tables = vec![table("results", &["b", "a"], Conflict::Refuse).as_ref().clone()];
    store.commit(Commit { tables, ..theirs }).await.expect("the commit succeeds");

    let ours = table("results", &["a", "b"], Conflict::Refuse);
    let fence = claim(store.as_mut(), &[]).await.fence;
    let mut written = Rows::new(Arc::clone(&ours));
    written.push("i1".to_owned(), [text("in a"), text("in b")]);
    let tables = vec![ours.as_ref().clone()];
    store.commit(Commit { tables, rows: vec![written], ..epoch(fence) }).await.expect("the commit succeeds");
    assert_eq!(place.rows("results", &["a", "b"]).await, [[text("i1"), text("in a"), text("in b")]]);
    let ledger = store.ledger(PIPELINE).await.expect("readable").expect("claimed");
    assert_eq!(ledger.tables, [ours.as_ref().clone()]);
}

pub(super) async fn a_table_with_other_columns_is_refused_by_name(place: &impl Place) {
    let mut store = place.open().await;
    write(store.as_mut(), &table("results", &["value"], Conflict::Refuse), &[("i1", "v")])
        .await
        .expect("written");
    for columns in [&["other"][..], &["value", "more"], &[]] {
        let fence = claim(store.as_mut(), &[]).await.fence;
        let tables = vec![table("results", columns, Conflict::Refuse).as_ref().clone()];
        match store.commit(Commit { tables, ..epoch(fence) }).await {
            Err(CommitError::Columns { table, found, wanted }) => {
                assert_eq!((table.as_str(), found.as_str()), ("results", "item_id, value"));
                let columns: Vec<&str> = std::iter::once("item_id").chain(columns.iter().copied()).collect();
                assert_eq!(wanted, columns.join(", "));
            }
            other => panic!("expected other columns, got {other:?}"),
        }
    }
}

pub(super) async fn a_table_whose_key_is_not_unique_is_refused(place: &impl Place) {
    let mut store = place.open().await;
    write(store.as_mut(), &table("results", &["id"], Conflict::Refuse), &[("i1", "v")])
        .await
        .expect("written");
    let by_id = table("results", &["id"], Conflict::ReplaceBy("id".to_owned()));
    match write(store.as_mut(), &by_id, &[("i2", "v")]).await {
        Err(CommitError::KeyNotUnique { table, column }) => {
            assert_eq!((table.as_str(), column.as_str()), ("results", "id"));
        }
        other => panic!("expected a key that is not unique, got {other:?}"),
    }
}

pub(super) async fn the_ledgers_own_names_are_refused(place: &impl Place) {
    let mut store = place.open().await;
    for name in ["aqueduct_pipeline", "aqueduct_results", "Aqueduct_State"] {
        let refused = write(store.as_mut(), &table(name, &["value"], Conflict::Refuse), &[("i1", "v")]).await;
        assert!(matches!(refused, Err(CommitError::ReservedTable { .. })), "{refused:?}");
    }
}

pub(super) async fn a_table_tells_what_it_is(place: &impl Place) {
    let mut store = place.open().await;
    assert_eq!(store.table("results").await.expect("readable"), None);
    let by_id = table("results", &["value", "id"], Conflict::ReplaceBy("id".to_owned()));
    let fence = claim(store.as_mut(), &[]).await.fence;
    let tables = vec![by_id.as_ref().clone()];
    store.commit(Commit { tables, ..epoch(fence) }).await.expect("the commit succeeds");
    let mut wanted = FoundTable {
        columns: vec!["value".to_owned(), "id".to_owned()],
        has_item_id: true,
        primary_key: vec!["id".to_owned()],
        has_rows: false,
    };
    assert_eq!(store.table("results").await.expect("readable"), Some(wanted.clone()));

    let mut written = Rows::new(by_id);
    written.push("i1".to_owned(), [text("v"), text("a")]);
    store.commit(Commit { rows: vec![written], ..epoch(fence) }).await.expect("the commit succeeds");
    wanted.has_rows = true;
    assert_eq!(store.table("results").await.expect("readable"), Some(wanted));
}
