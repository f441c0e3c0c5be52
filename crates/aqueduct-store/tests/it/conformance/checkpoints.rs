use aqueduct_core::{Counts, Position, Timestamp};
use aqueduct_store::{
    Checkpoint, CheckpointPosition, Commit, Conflict, DeadLetterFilter, FileMark, Retention, Rewind, Value,
};

use super::epoch::{PIPELINE, advance, change, claim, epoch, letter, read, rows, table};
use crate::place::Place;

fn at(partition: u32, position: &str, next_item: &str) -> CheckpointPosition {
    CheckpointPosition { partition, position: Position::new(position), next_item: next_item.to_owned() }
}

fn mark(part: &str, bytes: u64) -> FileMark {
    FileMark { sink: "alerts".to_owned(), part: part.to_owned(), bytes, items: bytes }
}

pub(super) async fn a_checkpoint_holds_what_is_true_after_its_epoch(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a", "b", "never read"]).await.fence;
    store.commit(Commit { counts: read(2), ..epoch(fence) }).await.expect("the commit succeeds");
    let mut commit = epoch(fence);
    commit.advances = vec![advance(0, 0, "10"), advance(1, 0, "{\"v\":1}")];
    commit.counts = read(3);
    commit.files = vec![mark("part-0", 7)];
    commit.checkpoint = Some("before the night".to_owned());
    store.commit(commit).await.expect("the commit succeeds");
    // What comes later does not change it.
    let later = Commit { advances: vec![advance(0, 1, "20")], counts: read(1), ..epoch(fence) };
    store.commit(later).await.expect("the commit succeeds");

    let wanted = Checkpoint {
        name: "before the night".to_owned(),
        epoch: 2,
        at: Timestamp(2_000),
        positions: vec![at(0, "10", "a0a0b10"), at(1, "{\"v\":1}", "a0a1a0")],
        files: vec![mark("part-0", 7)],
        counts: read(5),
        configuration: store.ledger(PIPELINE).await.expect("readable").expect("claimed").configuration,
        damage: None,
    };
    assert_eq!(store.checkpoints(PIPELINE).await.expect("readable"), [wanted]);
}

pub(super) async fn only_so_many_checkpoints_are_kept(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let mut record = async |name: String, kept: usize| {
        let retention = Retention { checkpoints: kept, ..Retention::default() };
        let commit = Commit { checkpoint: Some(name), retention, ..epoch(fence) };
        store.commit(commit).await.expect("the commit succeeds");
        let kept = store.checkpoints(PIPELINE).await.expect("readable");
        kept.into_iter().map(|checkpoint| checkpoint.name).collect::<Vec<_>>()
    };
    for number in 0..Retention::CHECKPOINTS {
        assert_eq!(record(format!("c{number}"), Retention::CHECKPOINTS).await.len(), number + 1);
    }
    let kept = record("new".to_owned(), Retention::CHECKPOINTS).await;
    assert_eq!((kept.len(), kept[0].as_str()), (Retention::CHECKPOINTS, "c1"));
    assert_eq!(kept.last().map(String::as_str), Some("new"));
    assert_eq!(record("newer".to_owned(), 2).await, ["new", "newer"]);
    assert_eq!(record("last".to_owned(), 0).await, ["last"]);
}

pub(super) async fn a_checkpoint_of_the_same_name_replaces_the_earlier_one(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    for name in ["a", "b", "a"] {
        let commit = Commit { checkpoint: Some(name.to_owned()), ..epoch(fence) };
        store.commit(commit).await.expect("the commit succeeds");
    }
    let found = store.checkpoints(PIPELINE).await.expect("readable");
    let found: Vec<(&str, u64)> = found.iter().map(|found| (found.name.as_str(), found.epoch)).collect();
    assert_eq!(found, [("b", 2), ("a", 3)]);
}

pub(super) async fn old_checkpoints_go_and_the_newest_stays(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &[]).await.fence;
    let retention =
        Retention { checkpoint_age_max: Some(std::time::Duration::from_secs(10)), ..Retention::default() };
    for (name, at) in [("a", 0), ("b", 5_000), ("c", 12_000)] {
        let commit = Commit {
            checkpoint: Some(name.to_owned()),
            at: Timestamp(at),
            retention: retention.clone(),
            ..epoch(fence)
        };
        store.commit(commit).await.expect("the commit succeeds");
    }
    let names = async |store: &mut dyn aqueduct_store::Store| {
        let kept = store.checkpoints(PIPELINE).await.expect("readable");
        kept.into_iter().map(|checkpoint| checkpoint.name).collect::<Vec<_>>()
    };
    assert_eq!(names(store.as_mut()).await, ["b", "c"]);
    store.retain(PIPELINE, &retention, Timestamp(99_000)).await.expect("it can be written");
    assert_eq!(names(store.as_mut()).await, ["c"]);
    assert_eq!(store.removed(PIPELINE).await.expect("readable").checkpoints, 2);
}

/// Three epochs over two partitions, a checkpoint after the first, and back to it.
pub(super) async fn going_back_makes_everything_as_it_was(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a", "b"]).await.fence;
    let kept = table("kept", &["v"], Conflict::Refuse);
    let mut first = epoch(fence);
    first.tables = vec![(*kept).clone()];
    first.rows = vec![rows(&kept, &[("a0a0a5", "early")])];
    first.advances = vec![advance(0, 0, "10")];
    first.files = vec![mark("part-0", 7)];
    first.state = vec![change("e1", Some("s1"))];
    first.dead_letters = vec![letter("a0a0a6", "score")];
    first.counts = Counts { dead_lettered: 1, read: 3, delivered: 2, ..Counts::default() };
    first.checkpoint = Some("first".to_owned());
    let then = first.counts;
    store.commit(first).await.expect("the commit succeeds");
    let mut second = epoch(fence);
    second.rows = vec![rows(&kept, &[("a0a0b10", "late"), ("a0a0b99a0", "late"), ("a0a1a0", "late")])];
    second.advances = vec![advance(0, 1, "100"), advance(1, 0, "5")];
    second.files = vec![mark("part-0", 9), mark("part-1", 3)];
    second.state = vec![change("e1", None), change("e2", Some("s2"))];
    second.dead_letters = vec![letter("a0a0b11", "score"), letter("a0a1a1", "source")];
    second.counts = read(9);
    second.checkpoint = Some("second".to_owned());
    store.commit(second).await.expect("the commit succeeds");

    let checkpoint = store.checkpoints(PIPELINE).await.expect("readable").remove(0);
    let rewind = Rewind {
        checkpoint,
        tables: vec!["kept".to_owned()],
        state_after: b"e1".to_vec(),
        at: Timestamp(3_000),
    };
    store.rewind(PIPELINE, fence, rewind).await.expect("it goes back");

    let ledger = store.ledger(PIPELINE).await.expect("readable").expect("claimed above");
    let positions: Vec<_> = ledger.partitions.iter().map(|known| known.position.clone()).collect();
    assert_eq!(positions, [Some(Position::new("10")), None]);
    assert_eq!((ledger.counts, ledger.epoch), (then, 3));
    assert_eq!(ledger.files, [mark("part-0", 7), mark("part-1", 0)]);
    assert_eq!(place.rows("kept", &["v"]).await, [[text("a0a0a5"), text("early")]]);
    let letters = store.dead_letters(PIPELINE, DeadLetterFilter::default()).await.expect("readable");
    assert_eq!(letters.iter().map(|letter| letter.item_id.as_str()).collect::<Vec<_>>(), ["a0a0a6"]);
    assert_eq!(store.state(PIPELINE, "window", None, 9).await.expect("readable"), []);
    let kept = store.checkpoints(PIPELINE).await.expect("readable");
    assert_eq!(kept.iter().map(|kept| kept.name.as_str()).collect::<Vec<_>>(), ["first"]);
    // The revisions went on, so an epoch of before the rewind is refused.
    let stale = Commit { advances: vec![advance(0, 2, "200")], ..epoch(fence) };
    store.commit(stale).await.expect_err("its revision is old");
    let fresh = Commit { advances: vec![advance(0, 3, "20")], ..epoch(fence) };
    store.commit(fresh).await.expect("the commit succeeds");
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) async fn going_back_is_fenced(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let commit =
        Commit { advances: vec![advance(0, 0, "10")], checkpoint: Some("c".to_owned()), ..epoch(fence) };
    store.commit(commit).await.expect("the commit succeeds");
    let checkpoint = store.checkpoints(PIPELINE).await.expect("readable").remove(0);
    let rewind = Rewind { checkpoint, tables: Vec::new(), state_after: Vec::new(), at: Timestamp(3_000) };
    claim(store.as_mut(), &["a"]).await;
    store.rewind(PIPELINE, fence, rewind).await.expect_err("a newer run has it");
    let ledger = store.ledger(PIPELINE).await.expect("readable").expect("claimed above");
    assert_eq!(ledger.epoch, 1);
}
