use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use aqueduct_core::{Clock, Timestamp};
use aqueduct_testkit::proxy::{Authority, Fault, FaultProxy, TlsServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = client.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn connected(proxy: &FaultProxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).await.expect("it listens");
    proxy.until(|now| now.open > 0).await;
    stream
}

async fn ask(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("it is open");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.expect("all of it comes back");
    String::from_utf8(answer).expect("what was sent")
}

#[tokio::test]
async fn what_passes_is_not_changed_and_connections_are_counted() {
    let proxy = FaultProxy::start(echo().await).expect("a port is free");
    let mut first = connected(&proxy).await;
    let mut second = TcpStream::connect(proxy.address()).await.expect("it listens");
    assert_eq!(ask(&mut first, "one").await, "one");
    assert_eq!(ask(&mut second, "two").await, "two");
    assert_eq!(proxy.connections().open, 2);
    drop(first);
    drop(second);
    let after = proxy.until(|now| now.open == 0).await;
    assert_eq!((after.opened, after.open_max), (2, 2));
}

#[tokio::test]
async fn a_closed_port_refuses_and_opens_again() {
    let proxy = FaultProxy::start(echo().await).expect("a port is free");
    for _ in 0..3 {
        proxy.set(Fault::Refuse).await.expect("the port can be closed");
        let error = TcpStream::connect(proxy.address()).await.expect_err("it is closed");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        proxy.set(Fault::Pass).await.expect("the port was held");
        let mut stream = TcpStream::connect(proxy.address()).await.expect("it is open");
        assert_eq!(ask(&mut stream, "again").await, "again");
    }
}

#[tokio::test]
async fn a_reset_strikes_connections_that_are_there_and_new_ones() {
    let proxy = FaultProxy::start(echo().await).expect("a port is free");
    let mut old = connected(&proxy).await;
    assert_eq!(ask(&mut old, "one").await, "one");
    proxy.set(Fault::Reset).await.expect("it is there");
    let mut new = TcpStream::connect(proxy.address()).await.expect("it listens");
    for stream in [&mut old, &mut new] {
        let error = stream.read(&mut [0; 8]).await.expect_err("it is no end in good order");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    proxy.until(|now| now.open == 0).await;
}

#[tokio::test]
async fn one_that_is_silent_tells_no_end_and_sees_the_client_go() {
    for fault in [Fault::HalfOpen, Fault::BlackHole] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let proxy = FaultProxy::start(listener.local_addr().expect("it is bound")).expect("a port is free");
        let mut old = connected(&proxy).await;
        let (server, _) = listener.accept().await.expect("the proxy connects");
        proxy.set(fault).await.expect("it is there");
        drop(server);
        let mut new = TcpStream::connect(proxy.address()).await.expect("it listens");
        new.write_all(b"anybody?").await.expect("it is open");
        proxy.until(|now| now.open == 2).await;
        for stream in [&mut old, &mut new] {
            let error = stream.try_read(&mut [0; 8]).expect_err("nothing, and no end");
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
        }
        drop((old, new));
        proxy.until(|now| now.open == 0).await;
    }
}

#[tokio::test]
async fn a_response_is_cut_after_exactly_so_many_bytes() {
    let proxy = FaultProxy::start(echo().await).expect("a port is free");
    proxy.set(Fault::CutAfter(5)).await.expect("it is there");
    let mut stream = connected(&proxy).await;
    stream.write_all(b"0123456789").await.expect("it is open");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it ends in good order");
    assert_eq!(answer, b"01234");
}

#[tokio::test]
async fn drops_and_delays_keep_to_the_clock() {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let proxy = FaultProxy::start_with(echo().await, clock).expect("a port is free");
    proxy.set(Fault::Drip { bytes: 2, every: Duration::from_secs(1) }).await.expect("it is there");
    let mut stream = connected(&proxy).await;
    stream.write_all(b"abcde").await.expect("it is open");
    let mut drop_of = [0; 8];
    for expected in ["ab", "cd", "e"] {
        let length = stream.read(&mut drop_of).await.expect("it is open");
        assert_eq!(&drop_of[..length], expected.as_bytes());
        while hand.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        hand.advance(Duration::from_secs(1));
    }
    proxy.set(Fault::Delay(Duration::from_secs(9))).await.expect("it is there");
    stream.write_all(b"late").await.expect("it is open");
    while hand.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(stream.try_read(&mut drop_of).is_err(), "it is not due");
    hand.advance(Duration::from_secs(9));
    assert_eq!(stream.read(&mut drop_of).await.expect("it is open"), 4);
}

#[tokio::test]
async fn a_proxy_that_is_dropped_closes_everything() {
    let proxy = FaultProxy::start(echo().await).expect("a port is free");
    let mut stream = connected(&proxy).await;
    assert_eq!(ask(&mut stream, "one").await, "one");
    let address = proxy.address();
    drop(proxy);
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
    let error = TcpStream::connect(address).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_server_shows_the_certificate_that_it_was_given() {
    let authority = Authority::new().expect("chance is there");
    assert!(authority.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    let identity = authority.issue(&["localhost", "127.0.0.1"]).expect("they are names");
    let server = TlsServer::start(identity, echo().await).await.expect("a port is free");
    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(authority.pem().as_bytes());
    roots.add(pem.expect("it is PEM")).expect("it is a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("they are known")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    for (name, right) in [("localhost", true), ("127.0.0.1", true), ("example.org", false)] {
        let stream = TcpStream::connect(server.address()).await.expect("it listens");
        let name = rustls::pki_types::ServerName::try_from(name).expect("it is a name");
        assert_eq!(connector.connect(name, stream).await.is_ok(), right);
    }
}
