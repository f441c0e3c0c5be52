use aqueduct_store::{Commit, StateChange, Store};

use super::epoch::{PIPELINE, advance, change, claim, epoch};
use crate::place::Place;

fn pair(key: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
    (key.into(), value.into())
}

async fn commit(store: &mut dyn Store, state: Vec<StateChange>) {
    let fence = claim(store, &["a"]).await.fence;
    store.commit(Commit { state, ..epoch(fence) }).await.expect("the commit succeeds");
}

pub(super) async fn state_is_set_replaced_and_removed(place: &impl Place) {
    let mut store = place.open().await;
    let changes = ["b", "a", "", "\0", "ab"].map(|key| change(key, Some("1")));
    commit(store.as_mut(), changes.to_vec()).await;
    let mut other = change("a", Some("elsewhere"));
    other.stage = "lookup".to_owned();
    commit(store.as_mut(), vec![change("a", Some("2")), change("b", None), change("zz", None), other]).await;
    let found = store.state(PIPELINE, "window", None, 100).await.expect("readable");
    assert_eq!(found, [pair("", "1"), pair("\0", "1"), pair("a", "2"), pair("ab", "1")]);
    assert_eq!(store.state(PIPELINE, "lookup", None, 100).await.expect("readable"), [pair("a", "elsewhere")]);
    assert_eq!(store.state(PIPELINE, "nothing", None, 100).await.expect("readable"), []);
}

pub(super) async fn of_two_changes_of_one_key_the_last_holds(place: &impl Place) {
    let mut store = place.open().await;
    let changes = vec![
        change("set", None),
        change("set", Some("1")),
        change("removed", Some("1")),
        change("removed", None),
        change("twice", Some("1")),
        change("twice", Some("2")),
    ];
    commit(store.as_mut(), changes).await;
    let found = store.state(PIPELINE, "window", None, 100).await.expect("readable");
    assert_eq!(found, [pair("set", "1"), pair("twice", "2")]);
}

pub(super) async fn a_refused_epoch_leaves_the_state_alone(place: &impl Place) {
    let mut store = place.open().await;
    commit(store.as_mut(), vec![change("k", Some("1"))]).await;
    let fence = claim(store.as_mut(), &["a"]).await.fence;
    let state = vec![change("k", Some("2")), change("new", Some("1"))];
    let refused = Commit { state, advances: vec![advance(0, 9, "stale")], ..epoch(fence) };
    store.commit(refused).await.expect_err("the revision is stale");
    assert_eq!(store.state(PIPELINE, "window", None, 100).await.expect("readable"), [pair("k", "1")]);
}
