use aqueduct_core::{Classified, ErrorClass};
use aqueduct_http::{AddressKind, Client, Config, HttpError, Method, Request};

use crate::server::{Reply, Server};
use crate::{client, get, local};

fn following() -> Client {
    client(local().redirects_max(5))
}

#[tokio::test]
async fn a_redirect_is_a_response_unless_it_is_asked_for() {
    let server = Server::saying(Reply::to(302, "/next")).await;
    let response = get(&client(local()), server.url("/")).await.expect("it is a response");
    assert_eq!((response.status().as_u16(), server.paths().len()), (302, 1));
    assert_eq!(response.headers()["location"], "/next");
}

#[tokio::test]
async fn redirects_are_followed_to_their_end() {
    let server = Server::start(|asked| async move {
        match asked.path.as_str() {
            "/a/b" => Reply::to(301, "c?d=1"),
            "/a/c?d=1" => Reply::to(307, "/e#part"),
            _ => Reply::ok("the end"),
        }
    })
    .await;
    let response = get(&following(), server.url("/a/b")).await.expect("it ends");
    assert_eq!((response.body(), response.url()), (&"the end".into(), server.url("/e").as_str()));
    assert_eq!(server.paths(), ["/a/b", "/a/c?d=1", "/e"]);
}

#[tokio::test]
async fn a_redirect_loop_is_an_error() {
    let server =
        Server::start(|asked| async move { Reply::to(302, if asked.path == "/a" { "/b" } else { "/a" }) });
    let server = server.await;
    let error = get(&following(), server.url("/a")).await.expect_err("it leads back");
    assert_eq!(error.to_string(), format!("the redirects lead back to {}", server.url("/a")));
    assert!(matches!(error, HttpError::RedirectLoop { .. }));
    assert_eq!((error.class(), server.paths().len()), (ErrorClass::Permanent, 2));
}

#[tokio::test]
async fn redirects_without_an_end_are_an_error() {
    let server = Server::start(|asked| async move { Reply::to(303, &format!("{}x", asked.path)) }).await;
    let error = get(&following(), server.url("/")).await.expect_err("they do not end");
    assert!(matches!(error, HttpError::Redirects { max: 5, .. }), "{error:?}");
    assert_eq!(server.paths().len(), 6);
}

#[tokio::test]
async fn a_redirect_is_checked_as_a_first_call_is() {
    for location in
        ["ftp://example.org/", "http://user:secret@example.org/", "javascript:alert(1)", "http://["]
    {
        let server = Server::saying(Reply::to(302, location)).await;
        let error = get(&following(), server.url("/")).await.expect_err("it is not called");
        assert!(matches!(error, HttpError::Url { .. }), "{location}: {error:?}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn a_redirect_into_the_own_network_is_not_followed() {
    let inside = Server::saying(Reply::ok("secret")).await;
    let port = inside.address.port();
    for (location, expected) in [
        (format!("http://127.0.0.1:{port}/?key=secret"), AddressKind::Loopback),
        (format!("http://localhost:{port}/"), AddressKind::Loopback),
        (format!("//[::ffff:127.0.0.1]:{port}/"), AddressKind::Loopback),
        ("http://169.254.169.254/latest/meta-data".to_owned(), AddressKind::LinkLocal),
    ] {
        let server = Server::saying(Reply::to(302, &location)).await;
        // A name that may be called although it is here, as if it were outside.
        let outside = Config::builder().resolve("outside.example", [server.address.ip()]).redirects_max(5);
        let url = format!("http://outside.example:{}/", server.address.port());
        match get(&client(outside), url).await {
            Err(HttpError::Address { kind, at, .. }) => {
                assert!(kind == expected && !at.contains("secret"), "{at}")
            }
            other => panic!("{location}: {other:?}"),
        }
        assert_eq!(server.paths().len(), 1, "the first call was made");
    }
    assert_eq!(inside.counts().open_max, 0, "and no other");
}

#[tokio::test]
async fn a_redirect_changes_the_method_as_browsers_do() {
    for (status, method, expected) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ] {
        let server = Server::start(move |asked| async move {
            if asked.path == "/" { Reply::to(status, "/next") } else { Reply::new(204, &[], "") }
        })
        .await;
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let with_body = method != Method::HEAD;
        let mut request = Request::new(method, server.url("/")).header("content-type", "text/plain");
        if with_body {
            request = request.body("body");
        }
        following().call(request).await.expect("it is followed");
        let asked = &server.asked()[1];
        assert_eq!(asked.method, expected, "{status}");
        let kept = with_body && expected != "GET";
        assert_eq!(&asked.body[..], if kept { &b"body"[..] } else { b"" }, "{status} {expected}");
        assert_eq!(asked.header("content-type").is_some(), expected != "GET", "{status} {expected}");
    }
}

#[tokio::test]
async fn no_credentials_go_to_another_origin() {
    let other = Server::saying(Reply::ok("the end")).await;
    let away = other.url("/away");
    let server = Server::start(move |asked| {
        let away = away.clone();
        async move { if asked.path == "/" { Reply::to(307, "/same") } else { Reply::to(307, &away) } }
    })
    .await;
    let request = Request::new(Method::POST, server.url("/"))
        .header("authorization", "Bearer secret")
        .header("cookie", "secret")
        .secret_header("x-key", "secret")
        .header("x-open", "for everybody")
        .body("body");
    following().call(request).await.expect("it ends");
    for asked in server.asked() {
        assert_eq!(asked.header("authorization"), Some("Bearer secret"), "the same origin");
        assert_eq!((asked.header("cookie"), asked.header("x-key")), (Some("secret"), Some("secret")));
    }
    let asked = &other.asked()[0];
    assert_eq!(
        (asked.header("authorization"), asked.header("cookie"), asked.header("x-key")),
        (None, None, None)
    );
    assert_eq!((asked.header("x-open"), &asked.body[..]), (Some("for everybody"), &b"body"[..]));
}
