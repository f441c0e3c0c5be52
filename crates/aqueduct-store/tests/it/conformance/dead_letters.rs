use aqueduct_core::{Counts, ErrorClass, Timestamp};
use aqueduct_store::{
    Commit, CommitError, DeadLetter, DeadLetterEdit, DeadLetterFilter, EditError, Original, Removed,
    Retention, Store,
};
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
    let item = DeadLetterFilter { items: vec!["i2".to_owned()], ..DeadLetterFilter::default() };
    assert_eq!(names(&read(store.as_mut(), item).await), [("i2", "alert")]);
    let both = DeadLetterFilter { items: vec!["i2".to_owned()], ..stage("score") };
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

pub(super) async fn letters_are_filtered_by_class_reason_and_time(place: &impl Place) {
    let mut store = place.open().await;
    let at = |item: &str, class, reason: &str, last| DeadLetter {
        class,
        reason: reason.to_owned(),
        last: Timestamp(last),
        ..letter(item, "score")
    };
    let letters = vec![
        at("i1", ErrorClass::Transient, "The service is AWAY 100%", 1_000),
        at("i2", ErrorClass::Permanent, "no coverage_", 2_000),
        at("i3", ErrorClass::Permanent, "the service said no", 3_000),
    ];
    commit(store.as_mut(), letters.clone()).await;
    let cases = [
        (DeadLetterFilter { class: Some(ErrorClass::Permanent), ..DeadLetterFilter::default() }, vec![1, 2]),
        (
            DeadLetterFilter { reason: Some("the SERVICE".to_owned()), ..DeadLetterFilter::default() },
            vec![0, 2],
        ),
        // A pattern of SQL is a text here.
        (DeadLetterFilter { reason: Some("%".to_owned()), ..DeadLetterFilter::default() }, vec![0]),
        (DeadLetterFilter { since: Some(Timestamp(2_000)), ..DeadLetterFilter::default() }, vec![1, 2]),
        (DeadLetterFilter { until: Some(Timestamp(2_000)), ..DeadLetterFilter::default() }, vec![0]),
        (
            DeadLetterFilter {
                items: vec!["i3".to_owned(), "i1".to_owned(), "i9".to_owned()],
                ..DeadLetterFilter::default()
            },
            vec![0, 2],
        ),
        (
            DeadLetterFilter {
                reason: Some("service".to_owned()),
                since: Some(Timestamp(1_001)),
                stage: Some("score".to_owned()),
                ..DeadLetterFilter::default()
            },
            vec![2],
        ),
    ];
    for (filter, wanted) in cases {
        let wanted: Vec<DeadLetter> = wanted.into_iter().map(|at: usize| letters[at].clone()).collect();
        let total = store.dead_letter_total(PIPELINE, filter.clone()).await.expect("readable");
        assert_eq!(total.letters, wanted.len() as u64, "{filter:?}");
        assert_eq!(total.bytes, wanted.iter().map(DeadLetter::bytes).sum::<u64>(), "{filter:?}");
        assert_eq!(read(store.as_mut(), filter).await, wanted);
    }
}

pub(super) async fn an_edit_changes_the_payload_and_nothing_else(place: &impl Place) {
    let mut store = place.open().await;
    let unread = DeadLetter { payload: None, ..letter("i1", "source") };
    commit(store.as_mut(), vec![unread.clone(), letter("i1", "score")]).await;
    let payload = Bytes::from_static(b"{\"id\":7}");
    let edit = DeadLetterEdit { read: unread.clone(), payload: payload.clone() };
    store.edit_dead_letter(PIPELINE, edit.clone()).await.expect("nobody changed it");
    let edited = DeadLetter { payload: Some(payload), ..unread };
    assert_eq!(read(store.as_mut(), DeadLetterFilter::default()).await, [letter("i1", "score"), edited]);
    // What was read is not what is there any more.
    let again = store.edit_dead_letter(PIPELINE, edit.clone()).await;
    assert!(matches!(again, Err(EditError::Changed { .. })), "{again:?}");
    let stranger = DeadLetterEdit { read: letter("i2", "score"), ..edit };
    let gone = store.edit_dead_letter(PIPELINE, stranger).await;
    assert!(matches!(gone, Err(EditError::Gone { .. })), "{gone:?}");
    // The run that holds the fence is not disturbed.
    let ledger = store.ledger(PIPELINE).await.expect("readable").expect("claimed");
    store.commit(epoch(ledger.fence)).await.expect("the fence is as it was");
}

pub(super) async fn a_purge_removes_what_it_is_told_page_by_page(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let mut dead_letters: Vec<DeadLetter> =
        (0..25).map(|number| letter(&format!("i{number:02}"), "score")).collect();
    dead_letters.push(letter("i07", "alert"));
    store.commit(Commit { dead_letters, ..epoch(fence) }).await.expect("the commit succeeds");
    let mut filter =
        DeadLetterFilter { stage: Some("score".to_owned()), limit: Some(10), ..DeadLetterFilter::default() };
    let mut steps = Vec::new();
    loop {
        let purged = store.purge_dead_letters(PIPELINE, filter.clone()).await.expect("it can be written");
        steps.push(purged.letters);
        let Some(last) = purged.last else { break };
        filter.after = Some(last);
    }
    assert_eq!(steps, [10, 10, 5, 0]);
    assert_eq!(names(&read(store.as_mut(), DeadLetterFilter::default()).await), [("i07", "alert")]);
    store.commit(epoch(fence)).await.expect("the fence is as it was");
}

fn at(item: &str, last: i64) -> DeadLetter {
    DeadLetter { last: Timestamp(last), ..letter(item, "score") }
}

async fn retained(place: &impl Place, letters: Vec<DeadLetter>, retention: Retention) -> (Vec<String>, u64) {
    let mut store = place.open().await;
    store.forget(PIPELINE).await.expect("it can be written");
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    // In two epochs, the second of which repeats a letter of the first.
    let first = Commit { dead_letters: vec![letters[0].clone()], ..epoch(fence) };
    store.commit(first).await.expect("the commit succeeds");
    let commit = Commit {
        dead_letters: letters,
        checkpoint: Some("c".to_owned()),
        retention: retention.clone(),
        at: Timestamp(10_000),
        ..epoch(fence)
    };
    store.commit(commit).await.expect("the commit succeeds");
    let removed = store.removed(PIPELINE).await.expect("readable");
    let again = store.retain(PIPELINE, &retention, Timestamp(10_000)).await.expect("it can be written");
    assert_eq!(again, Removed::default(), "one time is enough");
    assert_eq!(removed.checkpoints, 0);
    let left = read(store.as_mut(), DeadLetterFilter::default()).await;
    (left.into_iter().map(|letter| letter.item_id).collect(), removed.dead_letters)
}

pub(super) async fn retention_removes_the_oldest_letters(place: &impl Place) {
    let letters = || vec![at("i1", 5_000), at("i2", 1_000), at("i3", 9_000), at("i4", 7_000)];
    let each = letter("i1", "score").bytes();
    let all = Retention::default();
    let (ages, cases) = (
        std::time::Duration::from_millis,
        [
            (all.clone(), vec!["i1", "i2", "i3", "i4"]),
            (Retention { dead_letters: Some(2), ..all.clone() }, vec!["i3", "i4"]),
            (Retention { dead_letters: Some(0), ..all.clone() }, vec!["i3"]),
            (Retention { dead_letter_bytes: Some(3 * each), ..all.clone() }, vec!["i1", "i3", "i4"]),
            (Retention { dead_letter_bytes: Some(3 * each - 1), ..all.clone() }, vec!["i3", "i4"]),
            (Retention { dead_letter_bytes: Some(1), ..all.clone() }, vec!["i3"]),
        ],
    );
    for (retention, wanted) in cases {
        let gone = 4 - wanted.len() as u64;
        assert_eq!(
            retained(place, letters(), retention.clone()).await,
            (to_owned(wanted), gone),
            "{retention:?}"
        );
    }
    let young = Retention { dead_letter_age_max: Some(ages(5_000)), ..all.clone() };
    assert_eq!(retained(place, letters(), young).await, (to_owned(vec!["i1", "i3", "i4"]), 1));
    let none = Retention { dead_letter_age_max: Some(ages(10)), dead_letters: Some(9), ..all };
    assert_eq!(retained(place, letters(), none).await, (Vec::new(), 4));
}

fn to_owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

pub(super) async fn retention_counts_every_way_in_which_letters_come_and_go(place: &impl Place) {
    let mut store = place.open().await;
    let letters = (0..6).map(|number| at(&format!("i{number}"), 1_000 + number)).collect();
    commit(store.as_mut(), letters).await;
    let larger = DeadLetter { reason: "x".repeat(1_000), ..at("i0", 500) };
    commit(store.as_mut(), vec![larger.clone()]).await;
    let edit = DeadLetterEdit { read: larger, payload: Bytes::from(vec![b'x'; 1_000]) };
    store.edit_dead_letter(PIPELINE, edit).await.expect("nobody changed it");
    let one = DeadLetterFilter { items: vec!["i3".to_owned()], ..DeadLetterFilter::default() };
    store.purge_dead_letters(PIPELINE, one).await.expect("it can be written");
    let total = store.dead_letter_total(PIPELINE, DeadLetterFilter::default()).await.expect("readable");
    assert_eq!(total.letters, 5);
    let exact = Retention {
        dead_letters: Some(total.letters),
        dead_letter_bytes: Some(total.bytes),
        ..Retention::default()
    };
    let removed = store.retain(PIPELINE, &exact, Timestamp(0)).await.expect("it can be written");
    assert_eq!(removed, Removed::default());
    let tight = Retention { dead_letter_bytes: Some(total.bytes - 1), ..exact };
    let removed = store.retain(PIPELINE, &tight, Timestamp(0)).await.expect("it can be written");
    assert_eq!(removed, Removed { checkpoints: 0, dead_letters: 1 });
    assert_eq!(names(&read(store.as_mut(), DeadLetterFilter::default()).await)[0], ("i1", "score"));
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
