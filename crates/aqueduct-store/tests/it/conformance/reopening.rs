use aqueduct_store::{Conflict, FileMark};

use super::epoch::{PIPELINE, advance, change, claim, entry, epoch, letter, read, rows, table};
use crate::place::Place;

pub(super) async fn a_reopened_store_reads_the_same(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a", "b"]).await.fence;
    store.journal(PIPELINE, fence, vec![entry("i9", 0, "v")]).await.expect("journalled");
    let results = table("results", &["value"], Conflict::ReplaceBy("value".to_owned()));
    let mut commit = epoch(fence);
    commit.tables.push(results.as_ref().clone());
    commit.rows.push(rows(&results, &[("i1", "v")]));
    commit.dead_letters.push(letter("i2", "score"));
    commit.state.push(change("k", Some("v")));
    commit.files.push(FileMark { sink: "alerts".to_owned(), part: "part-0".to_owned(), bytes: 12, items: 1 });
    commit.advances.push(advance(1, 0, "7"));
    commit.counts = read(2);
    commit.checkpoint = Some("c".to_owned());
    store.commit(commit).await.expect("the commit succeeds");
    let ledger = store.ledger(PIPELINE).await.expect("readable");
    let letters = store.dead_letters(PIPELINE, Default::default()).await.expect("readable");
    let checkpoints = store.checkpoints(PIPELINE).await.expect("readable");
    let rows = place.rows("results", &["value"]).await;
    store.close().await.expect("the store closes");

    let mut store = place.open().await;
    assert_eq!(store.ledger(PIPELINE).await.expect("readable"), ledger);
    assert_eq!(store.dead_letters(PIPELINE, Default::default()).await.expect("readable"), letters);
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable"), checkpoints);
    assert_eq!(
        store.state(PIPELINE, "window", None, 100).await.expect("readable"),
        [(b"k".to_vec(), b"v".to_vec())]
    );
    assert_eq!(store.journalled(PIPELINE).await.expect("readable"), [entry("i9", 0, "v")]);
    assert_eq!(place.rows("results", &["value"]).await, rows);
    // The claim sees it too, and goes on from there.
    let claimed = claim(store.as_mut(), &["b"]).await;
    assert!(claimed.fence > fence);
    assert_eq!(claimed.partitions[0], ledger.expect("claimed").partitions[1]);
}
