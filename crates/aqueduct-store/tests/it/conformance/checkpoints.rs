use aqueduct_core::{PartitionId, Position, Timestamp};
use aqueduct_store::{Checkpoint, Commit, Retention};

use super::epoch::{PIPELINE, advance, claim, epoch, read};
use crate::place::Place;

pub(super) async fn a_checkpoint_holds_what_is_true_after_its_epoch(place: &impl Place) {
    let mut store = place.open().await;
    let fence = claim(store.as_mut(), &["a", "b", "never read"]).await.fence;
    store.commit(Commit { counts: read(2), ..epoch(fence) }).await.expect("the commit succeeds");
    let mut commit = epoch(fence);
    commit.advances = vec![advance(0, 0, "10"), advance(1, 0, "{\"v\":1}")];
    commit.counts = read(3);
    commit.checkpoint = Some("before the night".to_owned());
    store.commit(commit).await.expect("the commit succeeds");
    // What comes later does not change it.
    let later = Commit { advances: vec![advance(0, 1, "20")], counts: read(1), ..epoch(fence) };
    store.commit(later).await.expect("the commit succeeds");

    let wanted = Checkpoint {
        name: "before the night".to_owned(),
        epoch: 2,
        at: Timestamp(2_000),
        positions: vec![(PartitionId(0), Position::new("10")), (PartitionId(1), Position::new("{\"v\":1}"))],
        counts: read(5),
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
