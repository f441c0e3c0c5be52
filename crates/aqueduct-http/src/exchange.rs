use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use crate::dial::Dial;
use crate::error::{HttpError, Phase};
use crate::request::Request;
use crate::resolver::NotAllowed;
use crate::target::Target;

/// A call that is under way, as it is to be sent next.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) target: Target,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Where it was sent before, and led on from there.
    pub(crate) visited: Vec<(Method, Target)>,
    pub(crate) phase: Phase,
}

impl Call {
    pub(crate) fn new(request: Request) -> Result<Self, HttpError> {
        let target = request.check()?;
        let Request { method, headers, body, .. } = request;
        Ok(Self { target, method, headers, body, visited: Vec::new(), phase: Phase::Pool })
    }

    /// Sends it, and gives the response when its head is there. The client has the limit for connecting itself.
    pub(crate) async fn send(
        &mut self,
        client: &reqwest::Client,
        connect_timeout: Duration,
    ) -> Result<reqwest::Response, HttpError> {
        self.phase = Phase::Head;
        let mut request = reqwest::Request::new(self.method.clone(), self.target.url().clone());
        request.headers_mut().clone_from(&self.headers);
        if !self.body.is_empty() {
            *request.body_mut() = Some(self.body.clone().into());
        }
        Dial::wanted_by(client.execute(request)).await.map_err(|error| {
            if error.is_connect() && error.is_timeout() {
                return HttpError::ConnectTimeout { at: self.target.shown(), after: connect_timeout };
            }
            self.failed(error)
        })
    }

    /// Reads the body to its end or to the bound.
    pub(crate) async fn read(
        &mut self,
        response: &mut reqwest::Response,
        max: usize,
    ) -> Result<Bytes, HttpError> {
        self.phase = Phase::Body { bytes: 0 };
        let stated = response.content_length();
        if stated.is_some_and(|length| length > max as u64) {
            return Err(HttpError::TooLarge { at: self.target.shown(), max, stated });
        }
        // A body that comes in one piece, as most do, is not copied.
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.failed(error))? {
            let bytes = first.len().max(rest.len()) + piece.len();
            if bytes > max {
                return Err(HttpError::TooLarge { at: self.target.shown(), max, stated: None });
            }
            if first.is_empty() && rest.is_empty() {
                first = piece;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&std::mem::take(&mut first));
                }
                rest.extend_from_slice(&piece);
            }
            self.phase = Phase::Body { bytes };
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }

    /// Says in our words what became of it.
    fn failed(&self, error: reqwest::Error) -> HttpError {
        // The URL of the error has the query in it.
        let error = error.without_url();
        let found = Found::in_causes_of(&error);
        let at = self.target.shown();
        let (connecting, decoding) = (error.is_connect(), error.is_decode());
        let source = Box::new(error);
        if let Some(NotAllowed { address, kind }) = found.not_allowed {
            return HttpError::Address { at, address, kind };
        }
        match found.tls {
            Some(Trust::Certificate) => return HttpError::Certificate { at, source },
            Some(Trust::Other) => return HttpError::Tls { at, source },
            None => {}
        }
        match found.io {
            Some(io::ErrorKind::ConnectionRefused) if connecting => return HttpError::Refused { at, source },
            Some(
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe,
            ) => return HttpError::Reset { at, source },
            _ => {}
        }
        if source.is_dns() {
            return HttpError::Unresolved { at, source };
        }
        if connecting {
            return HttpError::Connect { at, source };
        }
        match found.http {
            Some(Spoken::Ended) => HttpError::Cut { at, source },
            Some(Spoken::Nonsense) => HttpError::Protocol { at, source },
            None if decoding => HttpError::Decode { at, source },
            None => HttpError::Cut { at, source },
        }
    }
}

/// What is known of an error from all that caused it.
#[derive(Debug, Default)]
struct Found {
    not_allowed: Option<NotAllowed>,
    tls: Option<Trust>,
    http: Option<Spoken>,
    io: Option<io::ErrorKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Certificate,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    /// The connection ended in the middle of a message.
    Ended,
    /// It is no message.
    Nonsense,
}

impl Found {
    fn in_causes_of(error: &(dyn Error + 'static)) -> Self {
        let mut found = Self::default();
        let mut next = Some(error);
        while let Some(cause) = next {
            next = cause.source();
            if let Some(not_allowed) = cause.downcast_ref::<NotAllowed>() {
                found.not_allowed = Some(*not_allowed);
            } else if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                let certificate = matches!(
                    tls,
                    rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
                );
                found.tls = Some(if certificate { Trust::Certificate } else { Trust::Other });
            } else if let Some(http) = cause.downcast_ref::<hyper::Error>() {
                found.http = if http.is_parse() { Some(Spoken::Nonsense) } else { Some(Spoken::Ended) };
            } else if let Some(io) = cause.downcast_ref::<io::Error>() {
                found.io = Some(io.kind());
                // The source of an error of io is that of what it wraps, not what it wraps.
                next = io.get_ref().map(|inner| inner as _).or(next);
            }
        }
        found
    }
}
