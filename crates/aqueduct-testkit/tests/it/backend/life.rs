use aqueduct_testkit::backend::{
    Account, Backend, Begins, Builder, Dead, Ends, Latency, Outage, Quota, Reply, Script, StartError,
};
use tokio::net::TcpStream;

use super::client::{Client, SECOND, balances, manual, started, until};

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
