use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Random, Timestamp};
use aqueduct_testkit::backend::{
    Account, Backend, Begins, Builder, Dead, Ends, Keys, Latency, Outage, Page, Quota, Reply, RetryAfter,
    Script, StartError, Tally, score, summary,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

// ---- a client ----

/// One connection, and one call at a time.
struct Client(SendRequest<Full<Bytes>>);

#[derive(Debug)]
struct Got {
    status: u16,
    fields: HeaderMap,
    body: Bytes,
}

type Call<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>);

impl Client {
    async fn open(backend: &Backend, host: usize) -> std::io::Result<Self> {
        let stream = TcpStream::connect(backend.addresses()[host]).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn to(backend: &Backend) -> Self {
        Self::open(backend, 0).await.expect("it listens")
    }

    async fn try_call(&mut self, (method, path, fields, body): Call<'_>) -> Result<Got, hyper::Error> {
        let mut request = Request::builder().method(method).uri(path).header("host", "backend");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request of a test is one");
        self.0.ready().await?;
        let response = self.0.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Got { status: head.status.as_u16(), fields: head.headers, body })
    }

    async fn call(&mut self, call: Call<'_>) -> Got {
        self.try_call(call).await.expect("it answers")
    }

    async fn get(&mut self, path: &str) -> Got {
        self.call(("GET", path, &[], Vec::new())).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> Value {
        let got = self.call(("POST", path, &[], body.to_string().into())).await;
        assert_eq!(got.status, 200, "{got:?}");
        got.json()
    }
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("a field of ours is text"))
    }
}

async fn started(script: Builder) -> Backend {
    Backend::start(script.build().expect("a script of a test is one")).await.expect("ports are free")
}

/// Lets the other tasks run until something is so. Bounded, so that a test that never comes there fails.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never comes to be");
}

fn manual() -> (Clock, ManualClock) {
    // 2026-11-21T10:00:00Z.
    Clock::manual(Timestamp(1_795_255_200_000))
}

#[track_caller]
fn balances(account: &Account) {
    let balance = |tally: &Tally| tally.answered() + tally.aborted + tally.cut + tally.in_flight;
    for tally in account.hosts.iter().chain([&account.total]) {
        assert_eq!(tally.calls, balance(tally), "{tally:?}");
    }
    let sum = |figure: fn(&Tally) -> u64| account.hosts.iter().map(figure).sum::<u64>();
    assert_eq!(account.total.calls, sum(|tally| tally.calls));
    assert_eq!(account.total.ok, sum(|tally| tally.ok));
    assert_eq!(account.total.connections, sum(|tally| tally.connections));
}

const SECOND: Duration = Duration::from_secs(1);

// ---- the quota ----

#[tokio::test]
async fn the_quota_is_counted_exactly() {
    let (clock, hand) = manual();
    let quota = Quota { calls: 5, window: SECOND };
    let backend = started(Script::builder().quota(quota).clock(clock.clone())).await;
    let mut client = Client::to(&backend).await;
    let mut random = Random::seeded(7);
    let (mut came, mut admitted): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let (mut refused, mut worst) = (0, 0);
    for _ in 0..400 {
        hand.advance(Duration::from_millis(random.below(300)));
        let now = clock.now().elapsed_since_start();
        let within = |log: &[Duration]| log.iter().filter(|at| now - **at < SECOND).count();
        let room = within(&admitted) < 5;
        came.push(now);
        worst = worst.max(within(&came));
        let got = client.get("/item/a").await;
        assert_eq!(got.status, if room { 200 } else { 429 }, "at {now:?}");
        if room {
            admitted.push(now);
        } else {
            refused += 1;
            assert_eq!(got.field("retry-after"), "1");
        }
    }
    let account = backend.stop().await;
    assert_eq!((account.total.over_quota, account.total.status(429)), (refused, refused));
    assert_eq!(account.total.calls_in_window_max, Some(worst as u64));
    assert!(refused > 20 && account.total.ok > 100, "{account:?}");
    balances(&account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_slips_past_the_quota_among_many_at_once() {
    let quota = Quota { calls: 100, window: Duration::from_hours(1) };
    let backend = started(Script::builder().hosts(2).quota(quota)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut client = Client::open(&backend, number % 2).await.expect("it listens");
        tasks.spawn(async move {
            for _ in 0..50 {
                client.get("/item/a").await;
            }
        });
    }
    tasks.join_all().await;
    let account = backend.stop().await;
    assert_eq!((account.total.ok, account.total.over_quota), (100, 300));
    assert_eq!(account.total.calls_in_window_max, Some(400));
    balances(&account);
}

#[tokio::test]
async fn each_host_has_the_quota_that_is_given_to_each() {
    let (clock, hand) = manual();
    let quota = Quota { calls: 2, window: 3 * SECOND };
    let backend = started(Script::builder().hosts(2).quota_per_host(quota).clock(clock)).await;
    for host in 0..2 {
        let mut client = Client::open(&backend, host).await.expect("it listens");
        for status in [200, 200, 429] {
            assert_eq!(client.get("/item/a").await.status, status);
        }
    }
    hand.advance(3 * SECOND);
    assert_eq!(Client::to(&backend).await.get("/item/a").await.status, 200);
    let account = backend.account();
    assert_eq!(account.hosts[0].calls_in_window_max, Some(3));
    assert_eq!(account.total.calls_in_window_max, Some(6));
}

#[tokio::test]
async fn who_comes_back_when_he_was_told_to_is_served() {
    for form in [RetryAfter::Seconds, RetryAfter::Date] {
        let (clock, hand) = manual();
        let quota = Quota { calls: 1, window: Duration::from_millis(4_500) };
        let script = Script::builder().quota(quota).retry_after(form).clock(clock.clone());
        let backend = started(script).await;
        let mut client = Client::to(&backend).await;
        hand.advance(Duration::from_millis(200));
        assert_eq!(client.get("/item/a").await.status, 200);
        hand.advance(Duration::from_millis(200));
        let refused = client.get("/item/a").await;
        let told = refused.field("retry-after");
        let wait = if form == RetryAfter::Seconds {
            Duration::from_secs(told.parse().expect("seconds"))
        } else {
            let date = httpdate::parse_http_date(told).expect("a date");
            let date = date.duration_since(std::time::UNIX_EPOCH).expect("it is long after");
            date - Duration::from_millis(u64::try_from(clock.wall().0).expect("it is long after"))
        };
        assert!(wait < Duration::from_secs(6), "{told}");
        hand.advance(wait);
        assert_eq!(client.get("/item/a").await.status, 200, "{told}");
    }
}

// ---- fate ----

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

// ---- keys ----

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

// ---- outages ----

#[tokio::test]
async fn a_dead_host_refuses_and_comes_back() {
    let (clock, hand) = manual();
    let outage =
        Outage { host: 1, from: Begins::At(SECOND), until: Ends::After(2 * SECOND), dead: Dead::Refuses };
    let backend = started(Script::builder().hosts(2).outage(outage).clock(clock)).await;
    let mut kept = Client::open(&backend, 1).await.expect("it is alive");
    assert_eq!(kept.get("/item/a").await.status, 200);

    hand.advance(SECOND);
    kept.try_call(("GET", "/item/a", &[], Vec::new())).await.map(drop).expect_err("it is dead");
    let refused = async || match Client::open(&backend, 1).await {
        Ok(_) => None,
        Err(error) => Some(error.kind()),
    };
    // The kept connection may see the end of its host before the port is closed.
    let mut seen = refused().await;
    for _ in 0..1_000 {
        if seen.is_some() {
            break;
        }
        tokio::task::yield_now().await;
        seen = refused().await;
    }
    assert_eq!(seen, Some(std::io::ErrorKind::ConnectionRefused));
    // Else the system might give its port to a connection, and the host could not come back.
    #[cfg(target_os = "linux")]
    {
        let taken = tokio::net::TcpSocket::new_v4().and_then(|socket| socket.bind(backend.addresses()[1]));
        assert_eq!(taken.expect_err("it is kept").kind(), std::io::ErrorKind::AddrInUse);
    }
    assert_eq!(Client::open(&backend, 0).await.expect("it is alive").get("/item/a").await.status, 200);

    hand.advance(2 * SECOND);
    until(|| std::net::TcpStream::connect(backend.addresses()[1]).is_ok()).await;
    assert_eq!(Client::open(&backend, 1).await.expect("it is back").get("/item/a").await.status, 200);
    balances(&backend.stop().await);
}

#[tokio::test]
async fn a_host_that_dies_at_a_call_is_back_after_its_time() {
    let (clock, hand) = manual();
    let outage = Outage { host: 0, from: Begins::AtCall(2), until: Ends::After(SECOND), dead: Dead::Refuses };
    let backend = started(Script::builder().outage(outage).clock(clock)).await;
    let mut client = Client::to(&backend).await;
    assert_eq!(client.get("/item/a").await.status, 200);
    client.try_call(("GET", "/item/a", &[], Vec::new())).await.map(drop).expect_err("it died");
    until(|| std::net::TcpStream::connect(backend.addresses()[0]).is_err()).await;
    hand.advance(SECOND);
    until(|| std::net::TcpStream::connect(backend.addresses()[0]).is_ok()).await;
    assert_eq!(Client::to(&backend).await.get("/item/a").await.status, 200);
    let account = backend.stop().await;
    assert_eq!((account.total.calls, account.total.ok, account.total.cut), (3, 2, 1));
}

#[tokio::test]
async fn a_host_that_is_dead_for_good_is_back_with_another_script() {
    let outage =
        Outage { host: 0, from: Begins::At(Duration::ZERO), until: Ends::Never, dead: Dead::Refuses };
    let backend = started(Script::builder().outage(outage)).await;
    until(|| std::net::TcpStream::connect(backend.addresses()[0]).is_err()).await;
    let alive = backend.script().to_builder().without_outages().build().expect("it is one");
    backend.script_live(alive).expect("it has as many hosts");
    until(|| std::net::TcpStream::connect(backend.addresses()[0]).is_ok()).await;
    assert_eq!(Client::to(&backend).await.get("/item/a").await.status, 200);
}

#[tokio::test]
async fn a_host_that_resets_counts_the_attempts_and_comes_back_at_its_call() {
    let outage = Outage { host: 0, from: Begins::AtCall(3), until: Ends::AtCall(6), dead: Dead::Resets };
    let backend = started(Script::builder().outage(outage)).await;
    let mut served = Vec::new();
    for _ in 1..=7 {
        let call = async {
            let mut client = Client::open(&backend, 0).await.ok()?;
            client.try_call(("GET", "/item/a", &[], Vec::new())).await.ok()
        };
        served.push(call.await.is_some());
    }
    assert_eq!(served, [true, true, false, false, false, true, true]);
    let account = backend.stop().await;
    assert_eq!((account.total.ok, account.total.cut, account.total.connections_reset), (4, 1, 2));
    balances(&account);
}

#[tokio::test]
async fn an_unavailable_host_says_so_and_comes_back_in_time() {
    let (clock, hand) = manual();
    let outage =
        Outage { host: 0, from: Begins::AtCall(2), until: Ends::After(SECOND), dead: Dead::Unavailable };
    let backend = started(Script::builder().outage(outage).clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let mut statuses = Vec::new();
    for step in [0, 0, 999, 1, 0] {
        hand.advance(Duration::from_millis(step));
        statuses.push(client.get("/item/a").await.status);
    }
    assert_eq!(statuses, [200, 503, 503, 200, 200]);
    assert_eq!(backend.account().total.connections, 1);
}

#[tokio::test]
async fn calls_in_flight_are_cut_when_their_host_dies() {
    let (clock, hand) = manual();
    let outage = Outage { host: 0, from: Begins::At(SECOND), until: Ends::Never, dead: Dead::Resets };
    let backend = started(Script::builder().hangs(1.0).outage(outage).clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let call = tokio::spawn(async move { client.try_call(("GET", "/item/a", &[], Vec::new())).await });
    until(|| backend.account().total.in_flight == 1).await;
    hand.advance(SECOND);
    call.await.expect("it ends").expect_err("its connection is gone");
    let account = backend.account();
    assert_eq!((account.total.cut, account.total.aborted), (1, 0));
    balances(&account);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_balances_whatever_happens() {
    for seed in 1..=5 {
        let outage = |host, from, until, dead| Outage {
            host,
            from: Begins::AtCall(from),
            until: Ends::AtCall(until),
            dead,
        };
        let script = Script::builder()
            .hosts(3)
            .errors(0.2)
            .hangs(0.02)
            .quota(Quota { calls: 300, window: Duration::from_hours(1) })
            .outage(outage(0, 20, 40, Dead::Resets))
            .outage(outage(1, 30, 50, Dead::Unavailable))
            .outage(outage(0, 60, 61, Dead::Resets))
            .seed(seed);
        let backend = std::sync::Arc::new(started(script).await);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..6 {
            let backend = std::sync::Arc::clone(&backend);
            tasks.spawn(async move {
                let mut seen = Vec::new();
                let mut kept = None;
                for call in 0..80 {
                    let mut client = match kept.take() {
                        Some(client) => client,
                        None => match Client::open(&backend, (number + call) % 3).await {
                            Ok(client) => client,
                            Err(_) => continue,
                        },
                    };
                    // Who waits in vain gives up, and sometimes who does not.
                    let patience = async {
                        for _ in 0..20_000 {
                            tokio::task::yield_now().await;
                        }
                    };
                    let key = format!("{}", call % 7);
                    let key = [("idempotency-key", key.as_str())];
                    tokio::select! {
                        got = client.try_call(("GET", "/item/a", &key, Vec::new())) => if let Ok(got) = got {
                            seen.push(got.status);
                            kept = (call % 5 > 0).then_some(client);
                        },
                        () = patience => {}
                    }
                }
                seen
            });
        }
        let seen: Vec<u16> = tasks.join_all().await.into_iter().flatten().collect();
        let backend = std::sync::Arc::into_inner(backend).expect("its clients are gone");
        let account = backend.stop().await;
        balances(&account);
        for (status, calls) in &account.total.by_status {
            let known = seen.iter().filter(|seen| *seen == status).count() as u64;
            assert!(known <= *calls, "seed {seed}: {status} was seen {known} times: {account:?}");
        }
        assert!(account.total.answered() >= seen.len() as u64, "seed {seed}");
        assert_eq!((account.total.in_flight, account.repeated()), (0, 0), "seed {seed}");
        assert!(account.total.connections_reset > 0 && account.total.cut > 0, "seed {seed}: {account:?}");
    }
}

// ---- while it runs, and its end ----

#[tokio::test]
async fn a_script_that_is_changed_counts_from_anew_and_the_account_goes_on() {
    let backend = started(Script::builder().seed(5)).await;
    let mut client = Client::to(&backend).await;
    assert_eq!(client.get("/item/a").await.status, 200);
    let broken = backend.script().to_builder().errors(1.0).build().expect("it is one");
    let Reply::Failed(first) = broken.fate(0, 1).reply else { panic!("all of them fail") };
    backend.script_live(broken).expect("it has as many hosts");
    assert_eq!(client.get("/item/a").await.status, first);
    let mended = backend.script().to_builder().errors(0.0).build().expect("it is one");
    backend.script_live(mended).expect("it has as many hosts");
    assert_eq!(client.get("/item/a").await.status, 200);
    let account = backend.account();
    assert_eq!((account.total.calls, account.total.ok, account.total.connections), (3, 2, 1));
    let error = backend.script_live(Script::builder().hosts(2).build().expect("it is one")).expect_err("no");
    assert_eq!(error.to_string(), "hosts is 2, allowed is 1, as when it was started");
}

#[tokio::test]
async fn every_task_ends_when_it_is_dropped() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let backend = started(Script::builder().hosts(3).hangs(1.0)).await;
    let address = backend.addresses()[2];
    // Of the calls hold one end only, so that no task of the client's is counted.
    let mut streams = Vec::new();
    for host in 0..3 {
        let stream = TcpStream::connect(backend.addresses()[host]).await.expect("it listens");
        stream.writable().await.expect("it is open");
        stream.try_write(b"GET /item/a HTTP/1.1\r\nhost: a\r\n\r\n").expect("it has room");
        streams.push(stream);
    }
    until(|| backend.account().total.in_flight == 3).await;
    assert_eq!(alive(), before + 6, "a task each host and each connection");
    drop(backend);
    until(|| alive() == before).await;
    TcpStream::connect(address).await.expect_err("its port is free again");
}

#[tokio::test]
async fn a_backend_that_is_stopped_has_ended_its_tasks_and_cut_its_calls() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let backend = started(Script::builder().hangs(1.0)).await;
    let stream = TcpStream::connect(backend.addresses()[0]).await.expect("it listens");
    stream.writable().await.expect("it is open");
    stream.try_write(b"GET /item/a HTTP/1.1\r\nhost: a\r\n\r\n").expect("it has room");
    until(|| backend.account().total.in_flight == 1).await;
    let account = backend.stop().await;
    assert_eq!((account.total.cut, account.total.in_flight, alive()), (1, 0, before));
    balances(&account);
}

#[tokio::test]
async fn most_in_flight_at_once_and_connections_are_counted() {
    let (clock, hand) = manual();
    let backend = started(Script::builder().latency(Latency::of(SECOND)).clock(clock)).await;
    let mut calls = Vec::new();
    for _ in 0..5 {
        let mut client = Client::to(&backend).await;
        calls.push(tokio::spawn(async move { client.get("/item/a").await.status }));
    }
    until(|| hand.waiting() == 5).await;
    hand.advance(SECOND);
    for call in calls {
        assert_eq!(call.await.expect("it ends"), 200);
    }
    let account = backend.account();
    assert_eq!((account.total.in_flight_max, account.total.connections), (5, 5));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = started(Script::builder()).await;
    let port = taken.addresses()[0].port();
    let error = Backend::start(Script::builder().first_port(port).build().expect("it is one")).await;
    match error {
        Err(StartError::Listen { address, .. }) => assert_eq!(address.port(), port),
        other => panic!("expected a port that is taken, got {other:?}"),
    }
}

#[test]
fn what_a_script_cannot_be_is_named() {
    let error = |script: Builder| script.build().map(drop).expect_err("it is none").to_string();
    let quota = |calls| Quota { calls, window: SECOND };
    let outage = Outage { host: 0, from: Begins::AtCall(5), until: Ends::AtCall(5), dead: Dead::Resets };
    for (script, message) in [
        (Script::builder().hosts(0), "hosts is 0, allowed is 1 to 64"),
        (Script::builder().errors(1.5), "errors is 1.5, allowed is 0.0 to 1.0"),
        (Script::builder().hangs(f64::NAN), "hangs is NaN, allowed is 0.0 to 1.0"),
        (Script::builder().quota(quota(0)), "quota is 0, allowed is 1 to 1000000"),
        (Script::builder().latency_of(1, Latency::NONE), "latency_of is 1, allowed is 0 to 0"),
        (Script::builder().outage(outage), "outage.until is call 5, allowed is a call after 5"),
        (
            Script::builder().outage(Outage { dead: Dead::Refuses, ..outage }),
            "outage.until is call 5, allowed is a time, or never: a host that refuses connections sees no calls",
        ),
        (
            Script::builder().hosts(3).first_port(65_534),
            "first_port is 65534, allowed is 0, or low enough for 3 ports",
        ),
    ] {
        assert_eq!(error(script), message);
    }
}

#[test]
fn a_backend_and_its_parts_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Backend>();
    shared::<Script>();
    shared::<Account>();
    shared::<StartError>();
}

// ---- routes ----

#[tokio::test]
async fn an_item_is_its_id_and_a_score_made_from_it() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    let first = client.get("/item/a%20b/c").await.json();
    assert_eq!(first["id"], "a b/c");
    assert!((0.0..=100.0).contains(&first["score"].as_f64().expect("a number")));
    assert_eq!(client.get("/item/a%20b/c").await.json(), first);
    assert_ne!(client.get("/item/d").await.json()["score"], first["score"]);
    assert_eq!(first["score"], json!(score("a b/c")));
    // Computed outside, and pinned, so that what a test computes today is what the backend says tomorrow.
    assert_eq!(client.get("/item/a-1").await.json()["score"], 32.31);
}

#[tokio::test]
async fn a_page_is_shown_as_it_was_given() {
    let pages = [("a b.html".to_owned(), Page::new("<p>Hello"))];
    let backend = started(Script::builder().pages(pages)).await;
    let mut client = Client::to(&backend).await;
    let got = client.get("/pages/a%20b.html").await;
    assert_eq!((got.field("content-type"), &got.body[..]), ("text/html; charset=utf-8", &b"<p>Hello"[..]));
    assert_eq!(client.get("/pages/none").await.status, 404);
}

#[tokio::test]
async fn a_list_gives_every_record_once_by_offset_by_cursor_and_by_link() {
    let backend = started(Script::builder().records(25)).await;
    let mut client = Client::to(&backend).await;
    let numbers = |records: &Value| -> Vec<u64> {
        records.as_array().unwrap().iter().map(|record| record["number"].as_u64().unwrap()).collect()
    };
    let all: Vec<u64> = (0..25).collect();

    let mut seen = Vec::new();
    for offset in [0, 10, 20, 30] {
        let page = client.get(&format!("/list?offset={offset}&limit=10")).await.json();
        assert_eq!(
            (&page["offset"], &page["limit"], &page["total"]),
            (&json!(offset), &json!(10), &json!(25))
        );
        seen.extend(numbers(&page["records"]));
    }
    assert_eq!(seen, all);

    let (mut seen, mut cursor) = (Vec::new(), Some(String::new()));
    while let Some(at) = cursor {
        let page = client.get(&format!("/list?cursor={at}&limit=10")).await.json();
        seen.extend(numbers(&page["records"]));
        cursor = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, all);

    let (mut seen, mut next) = (Vec::new(), Some("/list/linked?limit=10".to_owned()));
    while let Some(path) = next {
        let page = client.get(&path).await;
        seen.extend(numbers(&page.json()));
        let link = page.field("link").split(", ").find(|link| link.ends_with("; rel=\"next\""));
        next = link.map(|link| {
            let url = link.trim_start_matches('<').split_once('>').expect("an address in <>").0;
            url.strip_prefix(backend.url(0)).expect("it leads to this backend").to_owned()
        });
    }
    assert_eq!(seen, all);
    for wrong in ["/list?cursor=12", "/list?cursor=after-26", "/list?limit=0", "/list?offset=-1"] {
        assert_eq!(client.get(wrong).await.status, 400, "{wrong}");
    }
    let most = client.get("/list?limit=5000").await.json();
    assert_eq!(most["limit"], 1_000);
}

const TEXT: &str =
    "First it rains all day. Then the sun shines again! Does it snow in winter? It does not snow here.";
const SUMMARY: &str = "First it rains all day. Then the sun shines again! Does it snow in winter?";

#[tokio::test]
async fn a_chat_completion_has_the_first_sentences_and_its_tokens() {
    let (clock, _hand) = manual();
    let backend = started(Script::builder().clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let request = json!({ "model": "m-1", "messages": [
        { "role": "system", "content": "Sum it up." },
        { "role": "user", "content": [{ "type": "text", "text": TEXT }] },
    ] });
    let said = client.post("/v1/chat/completions", &request).await;
    assert_eq!(said["object"], "chat.completion");
    assert_eq!((&said["model"], &said["created"]), (&json!("m-1"), &json!(1_795_255_200)));
    let choice = &said["choices"][0];
    assert_eq!(summary(TEXT), SUMMARY);
    assert_eq!(choice["message"], json!({ "role": "assistant", "content": SUMMARY, "refusal": null }));
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(said["usage"], json!({ "prompt_tokens": 28, "completion_tokens": 19, "total_tokens": 47 }));
    assert_eq!(client.post("/v1/chat/completions", &request).await, said, "the same again");

    let request = json!({ "model": "m", "max_tokens": 2, "messages": [
        { "role": "user", "content": format!("Sum this up in a sentence:\n\n{TEXT}") },
    ] });
    let choice = &client.post("/v1/chat/completions", &request).await["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("First it"), &json!("length"))
    );
    for wrong in [r#"{"messages":[]}"#, r#"{"model":"m","messages":[]}"#, "{"] {
        let got = client.call(("POST", "/v1/chat/completions", &[], wrong.into())).await;
        assert_eq!(got.status, 400, "{wrong}");
        assert!(got.json()["error"]["message"].is_string());
    }
    assert_eq!(client.get("/v1/chat/completions").await.field("allow"), "POST");
}

#[tokio::test]
async fn a_model_reads_a_page_itself_or_says_that_it_could_not() {
    let page = format!("<html><head><title>T</title></head><body><p>{TEXT}</p></body></html>");
    let pages =
        [("open".to_owned(), Page::new(page.clone())), ("shut".to_owned(), Page::new(page).unreadable())];
    let backend = started(Script::builder().pages(pages)).await;
    let mut client = Client::to(&backend).await;
    let path = "/v1beta/models/g-1:generateContent";
    let asking = |name: &str| {
        let text = format!("Sum up {}/pages/{name}.", backend.url(0));
        json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }], "tools": [{ "url_context": {} }] })
    };
    let status = |name: &str, status: &str| {
        let url = format!("{}/pages/{name}", backend.url(0));
        json!({ "urlMetadata": [{ "retrievedUrl": url, "urlRetrievalStatus": status }] })
    };

    let read = client.post(path, &asking("open")).await;
    let candidate = &read["candidates"][0];
    assert_eq!(candidate["content"], json!({ "role": "model", "parts": [{ "text": SUMMARY }] }));
    assert_eq!(candidate["finishReason"], "STOP");
    assert_eq!(candidate["urlContextMetadata"], status("open", "URL_RETRIEVAL_STATUS_SUCCESS"));
    let usage = &read["usageMetadata"];
    let count = |name: &str| usage[name].as_u64().expect("a number");
    assert_eq!(
        count("totalTokenCount"),
        count("promptTokenCount") + count("toolUsePromptTokenCount") + count("candidatesTokenCount")
    );
    assert_eq!((read["modelVersion"].as_str(), count("candidatesTokenCount")), (Some("g-1"), 19));

    for name in ["shut", "none"] {
        let unread = client.post(path, &asking(name)).await;
        let candidate = &unread["candidates"][0];
        assert_eq!(candidate["content"], json!({ "role": "model" }), "{name} has no content");
        assert_eq!(candidate["urlContextMetadata"], status(name, "URL_RETRIEVAL_STATUS_ERROR"));
    }
    assert_eq!(client.get("/pages/shut").await.status, 200, "who fetches it gets it");

    let given = json!({ "contents": [{ "parts": [{ "text": format!("Sum this up:\n\n{TEXT}") }] }] });
    let said = client.post(path, &given).await;
    assert_eq!(said["candidates"][0]["content"]["parts"][0]["text"], SUMMARY);
    assert!(said["candidates"][0].get("urlContextMetadata").is_none());
}

#[tokio::test]
async fn a_sink_takes_an_array_or_lines_and_all_of_them_or_none() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for (body, accepted) in [("[]", 0), (" [1, {\"a\":2}]", 2), ("{\"a\":1}\n\n{\"a\":2}\r\n3", 3), ("", 0)] {
        let got = client.call(("POST", "/sink", &[], body.into())).await;
        assert_eq!(got.json(), json!({ "accepted": accepted }), "{body}");
    }
    let got = client.call(("POST", "/sink", &[], b"{}\nnot JSON\n".to_vec())).await;
    assert_eq!(got.status, 400);
    assert!(got.json()["error"]["message"].as_str().expect("it says why").starts_with("line 2 is not JSON"));
    assert_eq!(client.call(("POST", "/sink", &[], b"[1,".to_vec())).await.status, 400);
    assert_eq!(backend.account().total.records, 5);
}

#[tokio::test]
async fn a_status_is_what_was_asked_for() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for status in [200, 201, 204, 304, 404, 418, 429, 500, 599] {
        assert_eq!(client.get(&format!("/status/{status}")).await.status, status);
    }
    for wrong in ["/status/100", "/status/600", "/status/x", "/nothing"] {
        let status = client.get(wrong).await.status;
        assert_eq!(status, if wrong == "/nothing" { 404 } else { 400 }, "{wrong}");
    }
    let account = backend.account();
    assert_eq!((account.total.status(404), account.total.ok, account.total.over_quota), (2, 3, 0));
    balances(&account);
}

#[tokio::test]
async fn a_slow_route_waits_on_the_clock() {
    let (clock, hand) = manual();
    let backend = started(Script::builder().clock(clock)).await;
    let mut client = Client::to(&backend).await;
    let call = tokio::spawn(async move { client.get("/slow/1500").await.json() });
    until(|| hand.waiting() == 1).await;
    assert_eq!(hand.advance_to_next(), Some(Duration::from_millis(1_500)));
    assert_eq!(call.await.expect("it ends"), json!({ "delay_ms": 1_500 }));
}

#[tokio::test]
async fn a_big_answer_has_its_length_and_one_that_is_not_taken_was_given_up() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for bytes in [0, 1, 65_536, 1_000_000] {
        let got = client.get(&format!("/big/{bytes}")).await;
        assert_eq!((got.body.len(), got.field("content-length")), (bytes, &*bytes.to_string()));
        assert!(got.body.iter().all(|byte| *byte == b'a'));
    }
    let head = client.call(("HEAD", "/big/1000", &[], Vec::new())).await;
    assert_eq!((head.body.len(), head.field("content-length")), (0, "1000"));

    let stream = TcpStream::connect(backend.addresses()[0]).await.expect("it listens");
    stream.writable().await.expect("it is open");
    stream.try_write(b"GET /big/1073741824 HTTP/1.1\r\nhost: a\r\n\r\n").expect("it has room");
    until(|| backend.account().total.in_flight == 1).await;
    drop(stream);
    until(|| backend.account().total.in_flight == 0).await;
    let account = backend.account();
    assert_eq!((account.total.ok, account.total.aborted), (5, 1));
    balances(&account);
}

#[tokio::test]
async fn a_bomb_is_one_sound_gzip_member_of_a_thousandth_of_its_size() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    let got = client.get("/bomb?bytes=5000000").await;
    assert_eq!(got.field("content-encoding"), "gzip");
    assert!(got.body.len() < 5_500, "{}", got.body.len());
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&got.body[..])
        .read_to_end(&mut plain)
        .expect("length and checksum are right");
    assert_eq!(plain.len(), 5 << 20, "whole pieces of a mebibyte");
    assert!(plain.iter().all(|byte| *byte == 0));
    let head = client.call(("HEAD", "/bomb", &[], Vec::new())).await;
    let length: u64 = head.field("content-length").parse().expect("a length");
    assert!(length < 1_100_000, "a gibibyte in {length} bytes");
}

#[tokio::test]
async fn redirects_lead_on_in_circles_or_elsewhere() {
    let backend = started(Script::builder()).await;
    let mut client = Client::to(&backend).await;
    for (path, location) in [
        ("/redirect/2", "/redirect/1"),
        ("/redirect/1", "/redirect/0"),
        ("/redirect/loop", "/redirect/loop"),
        ("/redirect/to?url=http%3A%2F%2F10.0.0.1%2Fx%3Fa%3D1", "http://10.0.0.1/x?a=1"),
    ] {
        let got = client.get(path).await;
        assert_eq!((got.status, got.field("location")), (302, location));
    }
    assert_eq!(client.get("/redirect/0").await.status, 200);
    assert_eq!(client.get("/redirect/to").await.status, 400);
    assert_eq!(
        client.get("/redirect/to?url=a%0d%0ab").await.field("location"),
        "",
        "no field has a line end"
    );
}

#[tokio::test]
async fn the_account_is_shown_and_looking_at_it_is_no_call() {
    let backend = started(Script::builder().hosts(2).errors(1.0).hangs(0.5)).await;
    let mut client = Client::to(&backend).await;
    let index = client.get("/").await;
    assert!(String::from_utf8_lossy(&index.body).contains("/v1/chat/completions"));
    let shown = client.get("/account").await.json();
    assert_eq!((&shown["total"]["calls"], shown["hosts"].as_array().map(Vec::len)), (&json!(0), Some(2)));
    assert_eq!(shown["keys"]["repeated"], 0);
    assert_eq!(shown, serde_json::to_value(backend.account()).expect("it is JSON"));
}

// ---- a figure ----

/// Not a promise: `cargo test --release -p aqueduct-testkit --test it -- --ignored --nocapture calls_a_second`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints a figure and judges nothing"]
async fn calls_a_second_over_16_connections_that_are_kept() {
    const CALLS: u32 = 200_000;
    let clock = Clock::system();
    for (name, script) in [
        ("bare", Script::builder()),
        ("quota", Script::builder().quota(Quota { calls: 1_000_000, window: SECOND }).errors(0.2)),
    ] {
        let backend = started(script).await;
        let mut tasks = tokio::task::JoinSet::new();
        let begun = clock.now();
        for _ in 0..16 {
            let mut client = Client::to(&backend).await;
            tasks.spawn(async move {
                for _ in 0..CALLS / 16 {
                    client.get("/item/a-1").await;
                }
            });
        }
        tasks.join_all().await;
        let seconds = clock.now().since(begun).as_secs_f64();
        let account = backend.stop().await;
        balances(&account);
        println!("{name}: {:.0} calls/s, client included", f64::from(CALLS) / seconds);
    }
}
