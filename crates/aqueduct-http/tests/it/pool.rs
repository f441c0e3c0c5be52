use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Timestamp};
use aqueduct_http::{Client, HttpError, Response, Snapshot};
use aqueduct_testkit::proxy::FaultProxy;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::server::{Reply, Server};
use crate::{client, get, local, until};

/// A server that answers as often as it is let to.
async fn gated() -> (Server, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::start({
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.expect("nobody closes it").forget();
                Reply::ok("here")
            }
        }
    })
    .await;
    (server, gate)
}

type Called = JoinHandle<Result<Response, HttpError>>;

/// Calls, and lets the call come as far as it can without the server.
async fn start(client: &Client, url: String) -> Called {
    let client = client.clone();
    let call = tokio::spawn(async move { get(&client, url).await });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    call
}

async fn ends(call: Called) {
    call.await.expect("no panic").expect("it is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_never_has_more_calls_than_allowed() {
    let server = Server::start(|_| async {
        // Long enough for the others to come.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        Reply::ok("here")
    })
    .await;
    let client = client(local().connections_per_host(3));
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let (client, url) = (client.clone(), server.url("/"));
            tokio::spawn(async move { get(&client, url).await })
        })
        .collect();
    for call in calls {
        ends(call).await;
    }
    let counts = server.counts();
    // Two at least were at once, or nothing was shown; a busy machine may not get to the third.
    assert!((2..=3).contains(&counts.busy_max), "{counts:?}");
    // One that is late on its way back to the pool may overlap with the next.
    assert!(counts.open_max <= 6, "{counts:?}");
    assert_eq!(client.snapshot(), Snapshot { hosts: 1, calls: 0 });
}

#[tokio::test]
async fn calls_that_follow_each_other_share_one_connection() {
    let server = Server::saying(Reply::ok("here")).await;
    let proxy = FaultProxy::start(server.address).expect("a port is free");
    let client = client(local());
    for _ in 0..50 {
        get(&client, format!("http://{}/", proxy.address())).await.expect("it is there");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(proxy.connections().opened, 1);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed_after_its_time() {
    let server = Server::saying(Reply::ok("here")).await;
    let proxy = FaultProxy::start(server.address).expect("a port is free");
    let client = client(local().idle_timeout(Duration::from_millis(50)));
    get(&client, format!("http://{}/", proxy.address())).await.expect("it is there");
    proxy.until(|now| now.open == 0).await;
    assert_eq!(client.snapshot().hosts, 1, "the client is still there");
}

#[tokio::test]
async fn calls_to_a_host_get_their_turn_in_the_order_they_came() {
    let (server, gate) = gated().await;
    let client = client(local().connections_per_host(1));
    let mut calls = Vec::new();
    for number in 0..8 {
        calls.push(start(&client, server.url(&format!("/{number}"))).await);
    }
    // One that gives up leaves the order as it is.
    calls.remove(3).abort();
    gate.add_permits(8);
    for call in calls {
        ends(call).await;
    }
    assert_eq!(server.paths(), ["/0", "/1", "/2", "/4", "/5", "/6", "/7"]);
    assert_eq!(client.snapshot(), Snapshot { hosts: 1, calls: 0 });
}

#[tokio::test]
async fn a_host_that_nobody_calls_gives_its_place_and_its_connections_close() {
    let server = Server::saying(Reply::ok("here")).await;
    let proxies = [(); 4].map(|()| FaultProxy::start(server.address).expect("a port is free"));
    let client = client(local().hosts(2));
    for turn in 0..3 {
        for proxy in &proxies {
            get(&client, format!("http://{}/{turn}", proxy.address())).await.expect("it is there");
            assert!(client.snapshot().hosts <= 2);
        }
    }
    for (proxy, open) in proxies.iter().zip([0, 0, 1, 1]) {
        proxy.until(|now| now.open == open).await;
        assert!(proxy.connections().opened >= 3, "a place that was given away was taken again");
    }
    assert_eq!(client.snapshot(), Snapshot { hosts: 2, calls: 0 });
}

#[tokio::test]
async fn a_call_waits_for_a_place_when_all_hosts_are_busy_and_nobody_overtakes_it() {
    let (first, first_gate) = gated().await;
    let (second, second_gate) = gated().await;
    let (third, third_gate) = gated().await;
    let client = client(local().hosts(2));
    let busy = [start(&client, first.url("/")).await, start(&client, second.url("/")).await];
    let given_up = start(&client, third.url("/given-up")).await;
    let waits = start(&client, third.url("/")).await;
    let later = start(&client, second.url("/later")).await;
    assert_eq!((third.paths().len(), second.paths().len()), (0, 1), "both wait");
    given_up.abort();

    first_gate.add_permits(1);
    third_gate.add_permits(1);
    ends(waits).await;
    assert_eq!(third.paths(), ["/"]);
    second_gate.add_permits(2);
    ends(later).await;
    for call in busy {
        ends(call).await;
    }
    until(|| first.counts().open == 0).await;
    assert_eq!(client.snapshot(), Snapshot { hosts: 2, calls: 0 });
}

#[tokio::test]
async fn a_wait_for_a_place_ends_with_the_time_limit_and_is_a_refusal() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let (server, gate) = gated().await;
    let config = local().connections_per_host(1).build().expect("it is right");
    let client = Client::with_clock(config, clock).expect("there is TLS");
    let first = start(&client, server.url("/")).await;
    hand.advance(Duration::from_secs(59));
    let second = start(&client, server.url("/?key=secret")).await;
    gate.add_permits(1);
    ends(first).await;
    until(|| server.paths().len() == 2).await;
    let third = start(&client, server.url("/?key=secret")).await;
    hand.advance(Duration::from_secs(60));
    assert!(matches!(second.await.expect("no panic"), Err(HttpError::Timeout { .. })));
    let error = third.await.expect("no panic").expect_err("there was no place");
    assert_eq!(error.to_string(), format!("no place to call {} was free within 60s", server.url("/")));
    assert_eq!((error.class(), error.is_refusal()), (ErrorClass::Overload, true));
    assert_eq!(server.paths().len(), 2);
}

/// All addresses of 127.0.0.0/8 are this machine, and each is a host of its own.
#[tokio::test]
async fn ten_thousand_hosts_are_called_over_a_bounded_number_of_connections() {
    let server = Server::saying(Reply::ok("here")).await;
    let (port, client) = (server.address.port(), client(local()));
    for round in 0..100_u8 {
        let calls: Vec<_> = (0..100_u8)
            .map(|number| {
                let (client, url) = (client.clone(), format!("http://127.1.{round}.{number}:{port}/"));
                tokio::spawn(async move { get(&client, url).await })
            })
            .collect();
        for call in calls {
            ends(call).await;
        }
        assert!(client.snapshot().hosts <= 10);
    }
    assert_eq!(server.asked().len(), 10_000);
    until(|| server.counts().open <= 10).await;
    // Those that give way close when their tasks come to run.
    assert!(server.counts().open_max <= 100, "{:?}", server.counts());
}
