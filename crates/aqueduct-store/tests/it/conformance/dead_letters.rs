use aqueduct_core::{Counts, ErrorClass, Timestamp};
use aqueduct_store::{Commit, CommitError, DeadLetter, DeadLetterFilter, Original, Store};
use bytes::Bytes;

use super::epoch::{PIPELINE, advance, claim, epoch, letter};
use crate::place::Place;

async fn commit(store: &mut dyn Store, dead_letters: Vec<DeadLetter>) {
    let fence = claim(store, &["a"]).await.fence;
    store.commit(Commit { dead_letters, ..epoch(fence) }).await.expect("the commit succeeds");
}

async fn read(store: &mut dyn Store, filter: DeadLetterFilter) -> Vec<DeadLetter> {
    store.dead_letters(PIPELINE, filter).await.expect("readable")
}

fn names(letters: &[DeadLetter]) -> Vec<(&str, &str)> {
    letters.iter().map(|letter| (letter.item_id.as_str(), letter.stage.as_str())).collect()
}

pub(super) async fn letters_come_back_whole_and_in_the_order_of_their_ids(place: &impl Place) {
    let classes = [
        ErrorClass::Invalid,
        ErrorClass::Overload,
        ErrorClass::Transient,
        ErrorClass::Permanent,
        ErrorClass::Cancelled,
        ErrorClass::Internal,
    ];
    let mut letters = Vec::new();
    for (at, class) in classes.into_iter().enumerate() {
        let mut one = letter(&format!("a0a0b{}", 10 + at), "score");
        one.class = class;
        one.attempts = u32::MAX;
        one.first = Timestamp(-1);
        one.last = Timestamp(i64::MAX);
        one.reason = "no \"coverage\"\nin line\0 7".to_owned();
        one.payload = (at > 0).then(|| Bytes::from_static(b"{\"id\":\"\xff\"}"));
        if at % 2 == 1 {
            let head = Bytes::from(vec![b'x'; 65_536]);
            one.original = Original::Cut { offset: 1 << 40, bytes: 67_108_864, sha256: [7; 32], head };
        } else {
            one.original = Original::Whole(Bytes::from_static(b"\0\xfe\r"));
        }
        letters.push(one);
    }
    letters.push(DeadLetter { original: Original::Whole(Bytes::new()), ..letter("a0a0c100", "source") });
    let mut store = place.open().await;
    let written: Vec<DeadLetter> = letters.iter().rev().cloned().collect();
    commit(store.as_mut(), written).await;
    assert_eq!(read(store.as_mut(), DeadLetterFilter::default()).await, letters);
    assert_eq!(store.dead_letter_count(PIPELINE).await.expect("readable"), 7);
}

pub(super) async fn letters_are_read_page_by_page(place: &impl Place) {
    let mut store = place.open().await;
    let wanted: Vec<DeadLetter> =
        (0..1_234).map(|number| letter(&format!("i{number:04}"), "score")).collect();
    commit(store.as_mut(), wanted.clone()).await;
    let whole = read(store.as_mut(), DeadLetterFilter::default()).await;
    assert_eq!(whole.len(), DeadLetterFilter::LIMIT_DEFAULT);

    let mut found = Vec::new();
    let mut after = None;
    loop {
        let filter =
            DeadLetterFilter { after: after.take(), limit: Some(500), ..DeadLetterFilter::default() };
        let page = read(store.as_mut(), filter).await;
        let Some(last) = page.last() else { break };
        after = Some((last.item_id.clone(), last.stage.clone()));
        found.extend(page);
    }
    assert_eq!(found, wanted);
    let none = DeadLetterFilter { limit: Some(0), ..DeadLetterFilter::default() };
    assert_eq!(read(store.as_mut(), none).await, []);
}

pub(super) async fn letters_are_filtered_by_stage_and_item(place: &impl Place) {
    let mut store = place.open().await;
    let letters = vec![letter("i1", "score"), letter("i2", "alert"), letter("i3", "score")];
    commit(store.as_mut(), letters).await;
    let stage =
        |stage: &str| DeadLetterFilter { stage: Some(stage.to_owned()), ..DeadLetterFilter::default() };
    let found = read(store.as_mut(), stage("score")).await;
    assert_eq!(names(&found), [("i1", "score"), ("i3", "score")]);
    assert_eq!(read(store.as_mut(), stage("scor")).await, []);
    let item = DeadLetterFilter { item_id: Some("i2".to_owned()), ..DeadLetterFilter::default() };
    assert_eq!(names(&read(store.as_mut(), item).await), [("i2", "alert")]);
    let both = DeadLetterFilter { item_id: Some("i2".to_owned()), ..stage("score") };
    assert_eq!(read(store.as_mut(), both).await, []);
}

pub(super) async fn one_item_may_fail_in_two_places(place: &impl Place) {
    let mut store = place.open().await;
    commit(store.as_mut(), vec![letter("i1", "results"), letter("i1", "alerts"), letter("i2", "results")])
        .await;
    let found = read(store.as_mut(), DeadLetterFilter::default()).await;
    assert_eq!(names(&found), [("i1", "alerts"), ("i1", "results"), ("i2", "results")]);
    // A page may end between the two.
    let first = DeadLetterFilter { limit: Some(1), ..DeadLetterFilter::default() };
    assert_eq!(names(&read(store.as_mut(), first).await), [("i1", "alerts")]);
    let after = Some(("i1".to_owned(), "alerts".to_owned()));
    let rest = read(store.as_mut(), DeadLetterFilter { after, ..DeadLetterFilter::default() }).await;
    assert_eq!(names(&rest), [("i1", "results"), ("i2", "results")]);
}

pub(super) async fn a_letter_of_the_same_item_and_stage_replaces_the_earlier_one(place: &impl Place) {
    let mut store = place.open().await;
    commit(store.as_mut(), vec![letter("i1", "score")]).await;
    let again = DeadLetter { attempts: 2, last: Timestamp(9_000), ..letter("i1", "score") };
    commit(store.as_mut(), vec![again.clone()]).await;
    assert_eq!(read(store.as_mut(), DeadLetterFilter::default()).await, [again]);
    assert_eq!(store.dead_letter_count(PIPELINE).await.expect("readable"), 1);
}

pub(super) async fn a_refused_epoch_leaves_no_letter(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let mut refused = epoch(fence);
    refused.dead_letters.push(letter("i1", "score"));
    refused.advances.push(advance(0, 5, "stale"));
    let refused = store.commit(refused).await;
    assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
    assert_eq!(store.dead_letter_count(PIPELINE).await.expect("readable"), 0);
}

pub(super) async fn a_replay_takes_its_letters_away(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let counts = Counts { read: 2, dead_lettered: 2, ..Counts::default() };
    let dead_letters = vec![letter("a0a0a1", "score"), letter("a0a0a2", "score")];
    let checkpoint = Some("before".to_owned());
    let commit = Commit { dead_letters, counts, checkpoint, ..epoch(fence) };
    store.commit(commit).await.expect("the commit succeeds");
    // One comes through, the other fails once more, with another reason.
    let resolved = ["a0a0a1", "a0a0a2"].map(|item| (item.to_owned(), "score".to_owned())).to_vec();
    let again = DeadLetter { reason: "still".to_owned(), ..letter("a0a0a2", "score") };
    let counts = Counts { delivered: 1, dead_lettered: 1, ..Counts::default() };
    let commit = Commit { resolved, dead_letters: vec![again.clone()], counts, ..epoch(fence) };
    store.commit(commit).await.expect("the commit succeeds");
    assert_eq!(store.dead_letters(PIPELINE, DeadLetterFilter::default()).await.expect("readable"), [again]);
    let ledger = store.ledger(PIPELINE).await.expect("readable").expect("claimed above");
    assert_eq!((ledger.counts.delivered, ledger.counts.dead_lettered), (1, 1));
    ledger.counts.check().expect("it balances");
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable"), []);
}
