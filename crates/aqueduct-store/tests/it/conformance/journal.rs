use aqueduct_store::{Commit, JournalEntry};

use super::epoch::{PIPELINE, advance, claim, entry, epoch};
use crate::place::Place;

pub(super) async fn entries_last_until_a_commit_consumes_them(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let entries = vec![entry("i2", 0, "b"), entry("i1", 1, "\0\u{1F30A}"), entry("i1", 0, "")];
    store.journal(PIPELINE, fence, entries).await.expect("journalled");
    // A restart is another handle and another claim.
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let found = store.journalled(PIPELINE).await.expect("readable");
    assert_eq!(found, [entry("i1", 0, ""), entry("i1", 1, "\0\u{1F30A}"), entry("i2", 0, "b")]);

    let mut commit = epoch(fence);
    commit.consumed = vec!["i1".to_owned(), "i2".to_owned()];
    store.commit(commit).await.expect("the commit succeeds");
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), []);
}

pub(super) async fn an_entry_for_the_same_call_replaces_the_earlier_one(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    store.journal(PIPELINE, fence, vec![entry("i1", 0, "a")]).await.expect("journalled");
    let other = JournalEntry { stage: "tell".to_owned(), ..entry("i1", 0, "c") };
    store.journal(PIPELINE, fence, vec![entry("i1", 0, "b"), other.clone()]).await.expect("journalled");
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), [entry("i1", 0, "b"), other]);
}

pub(super) async fn a_refused_epoch_consumes_nothing(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    store.journal(PIPELINE, fence, vec![entry("i1", 0, "a")]).await.expect("journalled");
    let stale = vec![advance(0, 9, "stale")];
    let refused = Commit { consumed: vec!["i1".to_owned()], advances: stale, ..epoch(fence) };
    store.commit(refused).await.expect_err("the revision is stale");
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), [entry("i1", 0, "a")]);
}

pub(super) async fn a_commit_consumes_only_what_it_names(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let entries: Vec<JournalEntry> = (0..300).map(|number| entry(&format!("i{number:03}"), 0, "v")).collect();
    store.journal(PIPELINE, fence, entries.clone()).await.expect("journalled");
    let consumed =
        entries[..299].iter().map(|entry| entry.item_id.clone()).chain(["i\"'999".to_owned()]).collect();
    store.commit(Commit { consumed, ..epoch(fence) }).await.expect("the commit succeeds");
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), entries[299..]);
}
