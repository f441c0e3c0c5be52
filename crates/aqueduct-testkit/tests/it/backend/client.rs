use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Timestamp};
use aqueduct_testkit::backend::{Account, Backend, Builder, Tally};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// One connection, and one call at a time.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) type Call<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Vec<u8>);

impl Client {
    pub(crate) async fn open(backend: &Backend, host: usize) -> std::io::Result<Self> {
        let stream = TcpStream::connect(backend.addresses()[host]).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub(crate) async fn to(backend: &Backend) -> Self {
        Self::open(backend, 0).await.expect("it listens")
    }

    pub(crate) async fn try_call(
        &mut self,
        (method, path, fields, body): Call<'_>,
    ) -> Result<Got, hyper::Error> {
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

    pub(crate) async fn call(&mut self, call: Call<'_>) -> Got {
        self.try_call(call).await.expect("it answers")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Got {
        self.call(("GET", path, &[], Vec::new())).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Value {
        let got = self.call(("POST", path, &[], body.to_string().into())).await;
        assert_eq!(got.status, 200, "{got:?}");
        got.json()
    }
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("a field of ours is text"))
    }
}

pub(crate) async fn started(script: Builder) -> Backend {
    Backend::start(script.build().expect("a script of a test is one")).await.expect("ports are free")
}

/// Lets the other tasks run until something is so. Bounded, so that a test that never comes there fails.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never comes to be");
}

pub(crate) fn manual() -> (Clock, ManualClock) {
    // 2026-11-21T10:00:00Z.
    Clock::manual(Timestamp(1_795_255_200_000))
}

#[track_caller]
pub(crate) fn balances(account: &Account) {
    let balance = |tally: &Tally| tally.answered() + tally.aborted + tally.cut + tally.in_flight;
    for tally in account.hosts.iter().chain([&account.total]) {
        assert_eq!(tally.calls, balance(tally), "{tally:?}");
    }
    let sum = |figure: fn(&Tally) -> u64| account.hosts.iter().map(figure).sum::<u64>();
    assert_eq!(account.total.calls, sum(|tally| tally.calls));
    assert_eq!(account.total.ok, sum(|tally| tally.ok));
    assert_eq!(account.total.connections, sum(|tally| tally.connections));
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
