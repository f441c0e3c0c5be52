use std::net::IpAddr;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_http::{Builder, HttpError};
use aqueduct_testkit::proxy::{Authority, Fault, FaultProxy, TlsServer};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{Reply, Server};
use crate::{client, get, local};

const HERE: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

fn named() -> Builder {
    local().resolve("right.example", HERE).resolve("wrong.example", HERE)
}

#[tokio::test]
async fn a_certificate_is_checked_for_its_issuer_and_its_name() {
    let plain = Server::saying(Reply::ok("here")).await;
    let authority = Authority::new().expect("chance is there");
    let identity = authority.issue(&["right.example"]).expect("a name");
    let server = TlsServer::start(identity, plain.address).await.expect("a port is free");
    let port = server.address().port();
    let trusting = client(named().root_certificate(authority.pem()));
    let (right, wrong) = (format!("https://right.example:{port}/"), format!("https://wrong.example:{port}/"));

    assert_eq!(get(&trusting, &right).await.expect("it is trusted").body(), "here");
    for (client, url) in [(&client(named()), &right), (&trusting, &wrong)] {
        let error = get(client, url).await.expect_err("it is not trusted");
        assert!(matches!(error, HttpError::Certificate { .. }), "{error:?}");
        assert_eq!(error.class(), ErrorClass::Permanent);
    }
    assert_eq!(plain.asked().len(), 1, "nothing was sent to who is not trusted");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("https://{}/", listener.local_addr().expect("it is bound"));
    let talks = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        stream.write_all(b"220 mail.example ESMTP\r\n").await.expect("it is open");
        stream
    });
    let error = get(&client(local()), url).await.expect_err("it does not");
    assert!(matches!(error, HttpError::Tls { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Permanent);
    drop(talks.await);
}

#[tokio::test]
async fn a_server_that_never_agrees_on_tls_is_left_after_the_time_for_connecting() {
    let proxy = FaultProxy::start(None::<std::net::SocketAddr>).expect("a port is free");
    proxy.set(Fault::BlackHole).await.expect("it is there");
    let client = client(local().connect_timeout(Duration::from_millis(50)));
    let error = get(&client, format!("https://{}/", proxy.address())).await.expect_err("it never does");
    assert!(matches!(error, HttpError::ConnectTimeout { .. }), "{error:?}");
    assert_eq!(error.class(), ErrorClass::Transient);
    proxy.until(|now| now.open == 0).await;
}
