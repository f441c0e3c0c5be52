use aqueduct_testkit::backend::{Keys, Latency, Reply, Script};
use serde_json::json;

use super::client::{Call, Client, SECOND, balances, manual, started, until};

fn with_key<'a>(key: &'a [(&'a str, &'a str)], path: &'a str, body: &str) -> Call<'a> {
    ("POST", path, key, body.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_carried_out_once_however_many_calls_have_it() {
    let backend = started(Script::builder().hosts(2)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut client = Client::open(&backend, number % 2).await.expect("it listens");
        tasks.spawn(async move {
            let got = client.call(with_key(&[("idempotency-key", "k-1")], "/sink", "[1,2,3]")).await;
            (got.json(), got.field("idempotent-replayed").to_owned())
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|(body, _)| *body == json!({ "accepted": 3 })));
    assert_eq!(answers.iter().filter(|(_, replayed)| replayed == "true").count(), 19);
    let count = backend.key("k-1").expect("it came");
    assert_eq!((count.came, count.carried_out, count.kept_answers), (20, 1, 19));
    assert_eq!(backend.keys().len(), 1);
    let account = backend.stop().await;
    assert_eq!((account.total.records, account.repeated(), account.keys.repeats), (3, 0, 19));
    balances(&account);
}

#[tokio::test]
async fn a_service_that_ignores_keys_carries_them_out_again_and_says_so() {
    let backend = started(Script::builder().keys(Keys::Ignored)).await;
    let mut client = Client::to(&backend).await;
    for key in ["a", "b", "a", "a"] {
        client.call(with_key(&[("idempotency-key", key)], "/sink", "1")).await;
    }
    let account = backend.account();
    assert_eq!((account.repeated(), account.keys.carried_out, account.total.records), (1, 2, 4));
    assert_eq!(backend.key("a").map(|count| count.carried_out), Some(3));
}

#[tokio::test]
async fn what_was_done_for_a_client_that_gave_up_is_not_done_again() {
    let (clock, hand) = manual();
    let backend = started(Script::builder().latency(Latency::of(SECOND)).clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let key = &[("idempotency-key", "k")];
    let call = tokio::spawn(async move { client.try_call(with_key(key, "/sink", "{}")).await });
    until(|| hand.waiting() == 1).await;
    call.abort();
    until(|| backend.account().total.aborted == 1).await;

    let mut client = Client::to(&backend).await;
    let call = tokio::spawn(async move { client.call(with_key(key, "/sink", "{}")).await });
    until(|| hand.waiting() == 1).await;
    hand.advance(SECOND);
    assert_eq!(call.await.expect("it ends").json(), json!({ "accepted": 1 }));
    let account = backend.account();
    assert_eq!((account.total.records, account.keys.kept_answers), (1, 1));
}

#[tokio::test]
async fn a_call_that_failed_leaves_its_key_to_the_next() {
    // Both calls of this seed are looked up, so the test says what it needs.
    let seed = (0..)
        .find(|seed| {
            let script = Script::builder().errors(0.5).seed(*seed).build().expect("it is one");
            matches!(script.fate(0, 1).reply, Reply::Failed(_)) && script.fate(0, 2).reply == Reply::Served
        })
        .expect("every fourth seed is such a one");
    let backend = started(Script::builder().errors(0.5).seed(seed)).await;
    let mut client = Client::to(&backend).await;
    let key = &[("idempotency-key", "k")];
    assert!(client.call(with_key(key, "/sink", "{}")).await.status >= 500);
    assert_eq!(backend.key("k").map(|count| (count.came, count.carried_out)), Some((1, 0)));
    assert_eq!(client.call(with_key(key, "/sink", "{}")).await.status, 200);
    assert_eq!(backend.key("k").map(|count| (count.came, count.carried_out)), Some((2, 1)));
}

#[tokio::test]
async fn a_key_that_comes_with_something_else_is_refused() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    let key = &[("idempotency-key", "k")];
    assert_eq!(client.call(with_key(key, "/sink", "{}")).await.status, 200);
    assert_eq!(client.call(with_key(key, "/sink", "[]")).await.status, 422);
    let long = "x".repeat(256);
    assert_eq!(client.call(with_key(&[("idempotency-key", &long)], "/sink", "{}")).await.status, 400);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_the_name_of_its_bound() {
    let backend = started(Script::builder().keys_max(2).body_bytes_max(8)).await;
    let mut client = Client::to(&backend).await;
    for (key, status) in [("a", 200), ("b", 200), ("c", 507), ("a", 200)] {
        let got = client.call(with_key(&[("idempotency-key", key)], "/sink", "{}")).await;
        assert_eq!(got.status, status, "{key}");
        if status == 507 {
            let message = got.json()["error"]["message"].as_str().expect("it says why").to_owned();
            assert_eq!(message, "the ledger holds 2 keys and takes no more (keys_max)");
        }
    }
    let got = client.call(("POST", "/sink", &[], b"[1,2,3,4]".to_vec())).await;
    assert_eq!(got.status, 413);
    assert_eq!(got.json()["error"]["message"], "a body has at most 8 bytes (body_bytes_max)");
    balances(&backend.account());
}
