use std::time::Duration;

use aqueduct_http::{Builder, Client, Config, HttpError, Request, Response};

fn check(builder: Builder, expected: &str) {
    assert_eq!(builder.build().expect_err("it cannot be").to_string(), expected);
}

#[test]
fn what_cannot_be_is_named_with_what_may_be() {
    let config = Config::builder;
    check(config().hosts(0), "hosts is 0, allowed is 1 to 10000");
    check(config().connections_per_host(10_001), "connections_per_host is 10001, allowed is 1 to 10000");
    check(
        config().response_bytes_max(0),
        &format!("response_bytes_max is 0, allowed is 1 to {}", isize::MAX),
    );
    check(config().timeout(Duration::ZERO), "timeout is 0ns, allowed is 1ms to 3600s");
    check(config().connect_timeout(Duration::ZERO), "connect_timeout is 0ns, allowed is 1ms to 3600s");
    check(config().idle_timeout(Duration::ZERO), "idle_timeout is 0ns, allowed is 1ms to 3600s");
    check(config().redirects_max(21), "redirects_max is 21, allowed is 0 to 20");
    check(config().user_agent("a\nb"), "user_agent is \"a\\nb\", allowed is visible ASCII and blanks");
    check(
        config().root_certificate("no PEM"),
        "root_certificate is without a certificate, allowed is PEM with certificates of authorities",
    );
}

#[test]
fn everything_can_be_sent_between_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Client>();
    check::<Config>();
    check::<HttpError>();
    check::<Request>();
    check::<Response>();
}
