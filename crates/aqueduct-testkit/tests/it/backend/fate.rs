use std::collections::BTreeSet;

use aqueduct_testkit::backend::{Latency, Reply, Script};

use super::client::{Client, SECOND, balances, manual, started, until};

#[tokio::test]
async fn the_same_seed_gives_the_nth_call_the_same_fate() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let backend = started(Script::builder().errors(0.3).seed(seed)).await;
        let mut client = Client::to(&backend).await;
        let mut statuses = Vec::new();
        for _ in 0..100 {
            statuses.push(client.get("/item/a").await.status);
        }
        let told: Vec<u16> = (1..=100)
            .map(|call| match backend.script().fate(0, call).reply {
                Reply::Failed(status) => status,
                _ => 200,
            })
            .collect();
        assert_eq!(statuses, told, "what a script says beforehand is what happens");
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    let seen: BTreeSet<u16> = runs[0].iter().copied().collect();
    assert_eq!(seen, BTreeSet::from([200, 500, 502, 503, 504]));
}

#[test]
fn shares_are_kept_and_a_larger_one_hits_the_same_calls_and_more() {
    let tail = Some((0.05, 10 * SECOND));
    let latency = Latency { typical: SECOND, tail };
    let script = |errors| {
        let script = Script::builder().hosts(2).errors(errors).hangs(0.01).latency(latency).seed(3);
        script.build().expect("it is one")
    };
    let (few, many) = (script(0.1), script(0.2));
    let (mut failed_few, mut failed_many, mut hung, mut slow, mut differ) = (0, 0, 0, 0, 0);
    for call in 1..=100_000 {
        let (first, second) = (few.fate(0, call), many.fate(0, call));
        let fails = |reply| matches!(reply, Reply::Failed(_));
        assert!(!fails(first.reply) || second.reply == first.reply, "call {call}");
        assert_eq!((first.delay, first.slow), (second.delay, second.slow), "call {call}");
        failed_few += u32::from(fails(first.reply));
        failed_many += u32::from(fails(second.reply));
        hung += u32::from(first.reply == Reply::Never);
        slow += u32::from(first.slow);
        differ += u32::from(few.fate(1, call) != first);
    }
    let calm = few.to_builder().hangs(0.0).build().expect("it is one");
    for call in 1..=100_000 {
        let (with, without) = (few.fate(0, call), calm.fate(0, call));
        assert!(with.reply == Reply::Never || with == without, "hangs change nothing else: call {call}");
        assert_eq!((with.delay, with.slow), (without.delay, without.slow), "call {call}");
    }
    // Four standard deviations of a binomial distribution: sqrt(100,000 * p * (1 - p)).
    let near = |found: u32, share: f64| {
        let spread = 4.0 * (100_000.0 * share * (1.0 - share)).sqrt();
        assert!((f64::from(found) - 100_000.0 * share).abs() < spread, "{found} for {share}");
    };
    near(failed_few, 0.1 * 0.99);
    near(failed_many, 0.2 * 0.99);
    near(hung, 0.01);
    near(slow, 0.05);
    assert!(differ > 10_000, "hosts have fates of their own: {differ}");
}

#[tokio::test]
async fn a_slow_call_takes_its_time_on_the_clock_of_the_script() {
    let (clock, hand) = manual();
    let latency = Latency { typical: SECOND, tail: Some((1.0, 60 * SECOND)) };
    let script = Script::builder().hosts(2).latency_of(1, latency).latency(Latency::of(SECOND)).clock(clock);
    let backend = started(script).await;
    for (host, seconds) in [(0, 1), (1, 60)] {
        let mut client = Client::open(&backend, host).await.expect("it listens");
        let call = tokio::spawn(async move { client.get("/item/a").await.status });
        until(|| hand.waiting() == 1).await;
        assert_eq!(hand.advance_to_next(), Some(seconds * SECOND));
        assert_eq!(call.await.expect("it ends"), 200);
    }
    assert_eq!(backend.account().total.slow, 1);
}

#[tokio::test]
async fn a_call_that_hangs_is_never_answered_and_ends_with_its_client() {
    let backend = started(Script::builder().hangs(1.0)).await;
    let mut client = Client::to(&backend).await;
    let call = tokio::spawn(async move { client.try_call(("GET", "/item/a", &[], Vec::new())).await });
    until(|| backend.account().total.in_flight == 1).await;
    call.abort();
    until(|| backend.account().total.in_flight == 0).await;
    let account = backend.account();
    assert_eq!((account.total.hung, account.total.aborted, account.total.ok), (1, 1, 0));
    balances(&account);
}
