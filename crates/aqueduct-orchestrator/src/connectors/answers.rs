//! The answers of a backend that are kept.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use aqueduct_cache::{Namespace, Value};
use aqueduct_http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use aqueduct_policy::{Cache, CacheFuture, Snapshot};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::exchange::Outgoing;
use crate::caches::{self, CacheTotals, Caches, stored_key};
use crate::spec::{BackendSpec, KeptSpec, Method};

/// The answers to `GET` and `HEAD` calls of one backend, by what was asked.
pub(crate) struct Answers {
    namespace: String,
    kept: KeptSpec,
    /// Whom it asks: the same name may stand for another service in another pipeline.
    service: Sha256,
    caches: Arc<Caches>,
    space: OnceCell<Namespace<Kept>>,
}

/// The namespace of a backend's answers. No stage has a colon in the name of its.
pub(crate) fn namespace(backend: &str) -> String {
    format!("backend:{backend}")
}

impl Answers {
    /// What plays the services gives answers of its own, which are nobody's when the calls are real.
    pub(super) fn new(
        spec: &BackendSpec,
        kept: KeptSpec,
        is_played: bool,
        caches: &Arc<Caches>,
    ) -> Arc<Self> {
        let service = field(Sha256::new(), [u8::from(is_played)]);
        let service = spec.endpoints.iter().fold(service, |hash, endpoint| field(hash, endpoint.expose()));
        Arc::new(Self {
            namespace: namespace(&spec.name),
            kept,
            service,
            caches: Arc::clone(caches),
            space: OnceCell::new(),
        })
    }

    async fn space(&self) -> &Namespace<Kept> {
        self.space.get_or_init(|| self.caches.namespace(&self.namespace, self.kept)).await
    }

    /// An old answer, where a new one cannot be had.
    pub(super) async fn stale(&self, outgoing: &Outgoing) -> Option<Response> {
        let key = self.key(outgoing)?;
        self.space().await.get_stale(key).await.map(|kept| kept.0)
    }

    /// What it has counted. The layers above know who was a hit: they look twice, and some wait for others.
    fn totals(&self, snapshot: &Snapshot) -> Option<CacheTotals> {
        let stats = self.space.get()?.stats();
        Some(CacheTotals {
            misses: snapshot.cache_misses + snapshot.cache_shared,
            joined: snapshot.cache_shared,
            failures: snapshot.cache_misses.saturating_sub(stats.sets),
            ..CacheTotals::from(&stats)
        })
    }

    pub(super) async fn close(&self, snapshot: &Snapshot) {
        if let Some(totals) = self.totals(snapshot) {
            self.caches.say(&self.namespace, totals);
        }
        self.caches.close().await;
    }

    pub(super) fn figures(&self, snapshot: &Snapshot) -> Option<Map<String, Json>> {
        let layers = self.space.get()?.stats().layers;
        Some(caches::figures(&self.totals(snapshot)?, layers, &self.namespace))
    }
}

/// A part of what is hashed. Its length comes first, so that no two calls are written in the same way.
fn field(hash: Sha256, text: impl AsRef<[u8]>) -> Sha256 {
    let text = text.as_ref();
    hash.chain_update((text.len() as u64).to_le_bytes()).chain_update(text)
}

impl Cache<Outgoing, Response> for Answers {
    /// The method and the path in words, for people and patterns; all that may be secret as a hash.
    fn key(&self, outgoing: &Outgoing) -> Option<String> {
        if !outgoing.may_be_old || !matches!(outgoing.method, Method::Get | Method::Head) {
            return None;
        }
        let mut hash = field(self.service.clone(), &outgoing.target);
        // Another one for each item, and it says nothing about the answer.
        for (name, value) in outgoing.headers.iter().filter(|(name, _)| name != "idempotency-key") {
            hash = field(field(hash, name), value);
        }
        // What is a good answer to one stage may be none to another.
        hash = field(field(hash, &outgoing.body), format!("{:?}", outgoing.statuses));
        let hash = hash.finalize().iter().take(16).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let path = outgoing.target.split('?').next().unwrap_or_default();
        Some(stored_key(&format!("{} {path}", outgoing.method.as_str()), &hash))
    }

    fn get<'a>(&'a self, key: &'a str) -> CacheFuture<'a, Option<Response>> {
        Box::pin(async move { self.space().await.get(key).await.map(|kept| kept.0) })
    }

    fn put<'a>(&'a self, key: &'a str, answer: &'a Response) -> CacheFuture<'a, ()> {
        Box::pin(async move { self.space().await.set(key, Kept(answer.clone())).await })
    }
}

/// An answer as it is kept.
#[derive(Clone)]
struct Kept(Response);

/// What stands in a line before the body.
#[derive(Serialize, Deserialize)]
struct Head {
    status: u16,
    url: String,
    headers: Vec<(String, String)>,
}

impl Value for Kept {
    fn encode(&self) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        let Self(response) = self;
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            Ok((name.as_str().to_owned(), std::str::from_utf8(value.as_bytes())?.to_owned()))
        };
        let headers: Result<_, std::str::Utf8Error> = response.headers().iter().map(header).collect();
        let head =
            Head { status: response.status().as_u16(), url: response.url().to_owned(), headers: headers? };
        let mut bytes = serde_json::to_vec(&head)?;
        bytes.push(b'\n');
        bytes.extend_from_slice(response.body());
        Ok(bytes.into())
    }

    fn decode(bytes: Bytes) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("there is no line of headers")?;
        let head: Head = serde_json::from_slice(&bytes[..end])?;
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for (name, value) in head.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        let status = StatusCode::from_u16(head.status)?;
        let response = Response::from_parts(status, headers, bytes.slice(end + 1..), &head.url);
        Ok(Self(response.ok_or("the address is none")?))
    }
}
