use std::net::IpAddr;

use aqueduct_core::{Classified, ErrorClass};
use aqueduct_http::{AddressKind, Config, HeaderFault, HttpError, Method, Request, UrlFault};
use aqueduct_testkit::proxy::FaultProxy;

use crate::server::{Reply, Server};
use crate::{client, get, local};

fn guarded() -> aqueduct_http::Client {
    client(Config::builder())
}

fn kind(error: &HttpError) -> Option<AddressKind> {
    assert_eq!(error.class(), ErrorClass::Invalid, "{error:?}");
    match error {
        HttpError::Address { kind, .. } => Some(*kind),
        _ => None,
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_called_however_it_is_written() {
    let server = Server::saying(Reply::ok("secret")).await;
    let proxy = FaultProxy::start(server.address).expect("a port is free");
    let port = proxy.address().port();
    for (host, expected) in [
        ("127.0.0.1", AddressKind::Loopback),
        ("127.1", AddressKind::Loopback),
        ("2130706433", AddressKind::Loopback),
        ("0x7f000001", AddressKind::Loopback),
        ("0177.0.0.1", AddressKind::Loopback),
        ("%31%32%37.0.0.1", AddressKind::Loopback),
        ("\u{ff11}27.0.0.1", AddressKind::Loopback),
        ("[::1]", AddressKind::Loopback),
        ("[::ffff:127.0.0.1]", AddressKind::Loopback),
        ("[64:ff9b::7f00:1]", AddressKind::Loopback),
        ("0.0.0.0", AddressKind::Unspecified),
        ("169.254.169.254", AddressKind::LinkLocal),
        ("[fd00:ec2::254]", AddressKind::Private),
        ("10.0.0.1", AddressKind::Private),
    ] {
        let error =
            get(&guarded(), format!("http://{host}:{port}/?key=secret")).await.expect_err("it is not");
        assert_eq!(kind(&error), Some(expected), "{host}: {error:?}");
        assert!(!error.to_string().contains("secret"));
    }
    assert_eq!(proxy.connections().opened, 0, "nothing was connected");
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_not_called() {
    let server = Server::saying(Reply::ok("secret")).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let error = get(&guarded(), &url).await.expect_err("it is this machine");
    assert_eq!(kind(&error), Some(AddressKind::Loopback), "{error:?}");
    assert_eq!(server.counts().open_max, 0, "nothing was connected");
    assert_eq!(get(&client(local()), url).await.expect("it is allowed here").body(), "secret");
}

#[tokio::test]
async fn an_address_that_the_configuration_names_is_called_by_that_name_only() {
    let server = Server::saying(Reply::ok("here")).await;
    let port = server.address.port();
    let client = client(Config::builder().resolve("Inside.example", [IpAddr::from([127, 0, 0, 1])]));
    let response = get(&client, format!("http://inside.EXAMPLE:{port}/")).await;
    assert_eq!(response.expect("it is named").body(), "here");
    for host in ["127.0.0.1", "localhost"] {
        let error = get(&client, format!("http://{host}:{port}/")).await.expect_err("it is not");
        assert_eq!(kind(&error), Some(AddressKind::Loopback), "{error:?}");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_url_that_is_no_call_is_refused_with_words() {
    for (url, expected) in [
        ("", "the URL cannot be called: relative URL without a base"),
        ("/only/a/path", "the URL cannot be called: relative URL without a base"),
        ("http://", "the URL cannot be called: empty host"),
        ("http://a b/", "the URL cannot be called: invalid international domain name"),
        (
            "ftp://example.org/",
            "the URL cannot be called: its scheme is \"ftp\", and only http and https are called",
        ),
        (
            "file:///etc/passwd",
            "the URL cannot be called: its scheme is \"file\", and only http and https are called",
        ),
        ("http://user:secret@example.org/", "the URL cannot be called: it has a user or a password in it"),
        ("http://user@example.org/", "the URL cannot be called: it has a user or a password in it"),
    ] {
        let request = Request::new(Method::GET, url);
        assert!(!format!("{request:?}").contains("secret"));
        let error = guarded().call(request).await.expect_err("it is none");
        assert_eq!((error.class(), error.to_string().as_str()), (ErrorClass::Invalid, expected));
        assert!(matches!(error, HttpError::Url { .. }));
    }
    assert_eq!(UrlFault::Host.class(), ErrorClass::Invalid);
}

#[tokio::test]
async fn nothing_that_could_become_a_header_is_sent() {
    let server = Server::saying(Reply::ok("here")).await;
    let client = client(local());
    for (name, value, fault) in [
        ("x-item", "a\r\nx-admin: yes", HeaderFault::Value),
        ("x-item", "a\nb", HeaderFault::Value),
        ("x-item", "a\rb", HeaderFault::Value),
        ("x-item", "a\0b", HeaderFault::Value),
        ("x-item\r\nx-admin", "yes", HeaderFault::Name),
        ("x item", "yes", HeaderFault::Name),
        ("", "yes", HeaderFault::Name),
        ("Transfer-Encoding", "chunked", HeaderFault::Framing),
        ("content-length", "3", HeaderFault::Framing),
        ("host", "other.example", HeaderFault::Framing),
    ] {
        let request = Request::new(Method::GET, server.url("/")).header("accept", "*/*").header(name, value);
        match client.call(request).await {
            Err(HttpError::Header { name: told, fault: why }) => {
                assert_eq!((told.as_str(), why), (name, fault))
            }
            other => panic!("{name:?}: {value:?} gave {other:?}"),
        }
    }
    assert_eq!(server.counts().open_max, 0, "nothing was connected");
    let request =
        Request::new(Method::POST, server.url("/a?b=c#d")).header("X-Item", "gr\u{fc}n \t!").body("body");
    client.call(request).await.expect("all of it can be sent");
    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/a?b=c"));
    assert_eq!((asked.header("x-item"), &asked.body[..]), (Some("gr\u{fc}n \t!"), &b"body"[..]));
    assert_eq!(asked.header("user-agent"), Some(concat!("aqueduct/", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_is_secret_is_not_shown() {
    let request = Request::new(Method::GET, "https://example.org/a?key=secret")
        .header("authorization", "secret")
        .secret_header("x-key", "secret")
        .body("secret");
    let shown = format!("{request:?}");
    assert!(shown.contains("https://example.org/a") && shown.contains("x-key"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
