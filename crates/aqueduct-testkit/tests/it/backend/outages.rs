use std::time::Duration;

use aqueduct_testkit::backend::{Begins, Dead, Ends, Outage, Quota, Script};

use super::client::{Client, SECOND, balances, manual, started, until};

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
