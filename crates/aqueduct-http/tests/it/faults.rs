use std::time::Duration;

use aqueduct_core::{Classified, Clock, ErrorClass, Timestamp};
use aqueduct_http::{Client, HttpError, Phase};
use aqueduct_testkit::proxy::{Fault, FaultProxy};

use crate::server::{Reply, Server};
use crate::{client, get, local, until};

async fn proxied(reply: Reply) -> (Server, FaultProxy, String) {
    let server = Server::saying(reply).await;
    let proxy = FaultProxy::start(server.address).expect("a port is free");
    let url = format!("http://{}/path?key=secret", proxy.address());
    (server, proxy, url)
}

/// No message of it, nor of its causes, has the query in it.
fn tells_no_secret(error: &HttpError) {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = next {
        assert!(!format!("{cause} {cause:?}").contains("secret"), "{cause:?}");
        next = cause.source();
    }
}

#[tokio::test]
async fn a_closed_port_is_a_refused_connection() {
    let (_server, proxy, url) = proxied(Reply::ok("here")).await;
    proxy.set(Fault::Refuse).await.expect("it is there");
    let client = client(local());
    let error = get(&client, &url).await.expect_err("it is closed");
    assert!(matches!(error, HttpError::Refused { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Transient);
    assert_eq!(error.to_string(), format!("http://{}/path refused the connection", proxy.address()));
    tells_no_secret(&error);

    proxy.set(Fault::Pass).await.expect("the port was held");
    assert_eq!(get(&client, &url).await.expect("it is open again").body(), "here");
}

#[tokio::test]
async fn a_reset_is_told_and_the_next_call_works() {
    let (_server, proxy, url) = proxied(Reply::ok("here")).await;
    let client = client(local());
    for _ in 0..10 {
        proxy.set(Fault::Reset).await.expect("it is there");
        let error = get(&client, &url).await.expect_err("it is reset");
        // The reset may come while the request is written or while the response is read.
        assert!(matches!(error, HttpError::Reset { .. } | HttpError::Cut { .. }), "{error:?}");
        assert_eq!(error.class(), ErrorClass::Transient);
        tells_no_secret(&error);
        proxy.set(Fault::Pass).await.expect("it is there");
        assert_eq!(get(&client, &url).await.expect("it passes").body(), "here");
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_response_is_told() {
    let (_server, proxy, url) = proxied(Reply::ok(vec![b'x'; 1_000_000])).await;
    proxy.set(Fault::Drip { bytes: 1_000, every: Duration::from_millis(1) }).await.expect("it is there");
    let call = tokio::spawn(async move { get(&client(local()), url).await });
    proxy.until(|now| now.open == 1).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    proxy.set(Fault::Reset).await.expect("it is there");
    let error = call.await.expect("no panic").expect_err("it is reset");
    assert!(matches!(error, HttpError::Reset { .. } | HttpError::Cut { .. }), "{error:?}");
    proxy.until(|now| now.open == 0).await;
}

/// On a manual clock that is moved when the client waits for its answer, so that the limit is exact and costs no time.
async fn silent(fault: Fault) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let (_server, proxy, url) = proxied(Reply::ok("here")).await;
    let config = local().timeout(Duration::from_secs(30)).build().expect("it is right");
    let client = Client::with_clock(config, clock).expect("there is TLS");
    // The first call leaves a connection that the second one takes.
    assert_eq!(get(&client, &url).await.expect("it passes").body(), "here");
    proxy.set(fault).await.expect("it is there");
    let call = tokio::spawn({
        let (client, url) = (client.clone(), url.clone());
        async move { get(&client, url).await }
    });
    until(|| client.snapshot().calls == 1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    hand.advance(Duration::from_secs(30));
    let error = call.await.expect("no panic").expect_err("nothing came");
    match &error {
        HttpError::Timeout { after, phase, .. } => {
            assert_eq!((*after, *phase), (Duration::from_secs(30), Phase::Head));
        }
        other => panic!("expected a time-out, got {other:?}"),
    }
    assert_eq!(error.class(), ErrorClass::Transient);
    tells_no_secret(&error);
    // The connection that said nothing is not used again.
    proxy.until(|now| now.open == 0).await;
    proxy.set(Fault::Pass).await.expect("it is there");
    assert_eq!(get(&client, &url).await.expect("it passes").body(), "here");
}

#[tokio::test]
async fn a_half_open_connection_ends_with_the_time_limit() {
    silent(Fault::HalfOpen).await;
}

#[tokio::test]
async fn a_black_hole_ends_with_the_time_limit() {
    silent(Fault::BlackHole).await;
}

#[tokio::test]
async fn a_slow_drip_ends_with_the_time_limit_of_the_whole_call() {
    let (_server, proxy, url) = proxied(Reply::ok(vec![b'x'; 100_000])).await;
    proxy.set(Fault::Drip { bytes: 20, every: Duration::from_millis(5) }).await.expect("it is there");
    let client = client(local().timeout(Duration::from_millis(200)));
    let error = get(&client, &url).await.expect_err("it would take 25 s");
    assert!(matches!(error, HttpError::Timeout { .. }), "{error:?}");
    tells_no_secret(&error);
    proxy.until(|now| now.open == 0).await;
}

#[tokio::test]
async fn a_response_that_is_cut_is_no_response() {
    let (_server, proxy, url) = proxied(Reply::ok(vec![b'x'; 1_000])).await;
    let client = client(local());
    // In the head, at its end, and in the body.
    for bytes in [0, 10, 63, 64, 65, 500, 1_000] {
        proxy.set(Fault::CutAfter(bytes)).await.expect("it is there");
        let error = get(&client, &url).await.expect_err("it is cut");
        assert!(matches!(error, HttpError::Cut { .. }), "after {bytes}: {error:?}");
        assert_eq!(error.class(), ErrorClass::Transient);
        tells_no_secret(&error);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_costs_no_call() {
    let (_server, proxy, url) = proxied(Reply::ok("here")).await;
    let client = client(local());
    for _ in 0..20 {
        assert_eq!(get(&client, &url).await.expect("it passes").body(), "here");
        // Closes what is there. The client may not have seen it when the next call comes.
        proxy.set(Fault::CutAfter(0)).await.expect("it is there");
        proxy.set(Fault::Pass).await.expect("it is there");
    }
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    let server = Server::saying(Reply::raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")).await;
    let error = get(&client(local()), server.url("/")).await.expect_err("it is none");
    assert!(matches!(error, HttpError::Protocol { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Permanent);
}

#[tokio::test]
async fn a_head_without_an_end_is_left() {
    let head = [&b"HTTP/1.1 200 OK\r\n"[..], &b"x-line: again\r\n".repeat(1 << 16)].concat();
    let server = Server::saying(Reply::raw(&head)).await;
    let error = get(&client(local()), server.url("/")).await.expect_err("it is too long");
    assert!(matches!(error, HttpError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_that_is_not_found_is_told() {
    let error = get(&client(local()), "http://nowhere.invalid/a?key=secret").await.expect_err("RFC 6761");
    assert!(matches!(error, HttpError::Unresolved { .. }), "{error:?}");
    tells_no_secret(&error);
}
