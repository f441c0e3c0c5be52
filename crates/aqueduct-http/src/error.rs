use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use aqueduct_core::{Classified, ErrorClass};

pub use aqueduct_core::ConfigError;

use crate::address::AddressKind;

/// What somebody else's code said.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A call that brought no response. Nothing of it is left behind: its connection is closed, and its place is free.
///
/// `at` is the URL without its query, fragment and credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The URL, or the one that a redirect leads to, is not one that is called. Nothing was sent to it. Invalid.
    #[error("the URL cannot be called: {fault}")]
    Url {
        /// What is wrong with it.
        fault: UrlFault,
    },
    /// A header cannot be sent. Nothing was. Invalid.
    #[error("the header {name:?} cannot be sent: {fault}")]
    Header {
        /// Its name, as far as it was one.
        name: String,
        /// What is wrong with it.
        fault: HeaderFault,
    },
    /// All addresses of the host are ones that are not connected to, and this is one of them. Nothing was sent. Invalid:
    /// see [`allow_private`](crate::Builder::allow_private).
    #[error("{at} is at {address}, which is {kind} and not public")]
    Address {
        /// What was to be called.
        at: String,
        /// The address.
        address: IpAddr,
        /// Why it is not connected to.
        kind: AddressKind,
    },
    /// The time limit came while the call waited for a place: our own calls take all of them. Nothing was sent, and it says
    /// nothing about the server: a refusal. Overload.
    #[error("no place to call {at} was free within {after:?}")]
    Busy {
        /// What was to be called.
        at: String,
        /// The time limit.
        after: Duration,
    },
    /// The name was not found. Whether there is none or nobody could tell now is not known. Transient.
    #[error("the host of {at} was not found")]
    Unresolved {
        /// What was to be called.
        at: String,
        /// What the system said.
        source: Cause,
    },
    /// Nobody listens at the port. Nothing was sent. Transient.
    #[error("{at} refused the connection")]
    Refused {
        /// What was to be called.
        at: String,
        /// What the system said.
        source: Cause,
    },
    /// There was no connection within its time limit. Nothing was sent. Transient.
    #[error("{at} was not connected within {after:?}")]
    ConnectTimeout {
        /// What was to be called.
        at: String,
        /// The time limit for connecting.
        after: Duration,
    },
    /// The connection cannot be made for another reason, no way to the host for example. Nothing was sent. Transient.
    #[error("{at} cannot be connected")]
    Connect {
        /// What was to be called.
        at: String,
        /// What the system said.
        source: Cause,
    },
    /// The server's certificate is not one to trust: unknown issuer, wrong name, out of date. Nothing was sent. Permanent.
    #[error("the certificate of {at} is not trusted")]
    Certificate {
        /// What was to be called.
        at: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// Client and server do not agree on TLS. Nothing was sent. Permanent.
    #[error("{at} does not speak TLS as it should")]
    Tls {
        /// What was to be called.
        at: String,
        /// What is wrong.
        source: Cause,
    },
    /// The whole call took longer than its limit. Whether the server has done what it was asked to is not known. Transient.
    #[error("{at} took longer than {after:?}; it was {phase}")]
    Timeout {
        /// What was called.
        at: String,
        /// The time limit.
        after: Duration,
        /// How far it had come.
        phase: Phase,
    },
    /// The connection was torn down. Whether the server has done what it was asked to is not known. Transient.
    #[error("{at} reset the connection")]
    Reset {
        /// What was called.
        at: String,
        /// What the system said.
        source: Cause,
    },
    /// The connection ended before the response did. Whether the server has done what it was asked to is not known.
    /// Transient.
    #[error("{at} ended the connection before its response")]
    Cut {
        /// What was called.
        at: String,
        /// What was missing.
        source: Cause,
    },
    /// What came is not HTTP. Permanent.
    #[error("{at} does not speak HTTP as it should")]
    Protocol {
        /// What was called.
        at: String,
        /// What is wrong.
        source: Cause,
    },
    /// The body is not compressed as the response says. Permanent.
    #[error("the response of {at} cannot be decompressed")]
    Decode {
        /// What was called.
        at: String,
        /// What is wrong.
        source: Cause,
    },
    /// The body is larger than allowed. No more than that of it was kept. Permanent.
    #[error("the response of {at} is larger than {max} bytes")]
    TooLarge {
        /// What was called.
        at: String,
        /// The most that is allowed, in bytes.
        max: usize,
        /// How large it is, where the server has said so.
        stated: Option<u64>,
    },
    /// It leads from one redirect to the next, more often than allowed. Permanent.
    #[error("{at} leads on after {max} redirects")]
    Redirects {
        /// Where it had come to.
        at: String,
        /// How many are followed.
        max: usize,
    },
    /// A redirect leads back to what was called before. Permanent.
    #[error("the redirects lead back to {at}")]
    RedirectLoop {
        /// Where it leads.
        at: String,
    },
    /// The client itself is wrong; please report it. Internal.
    #[error("the client cannot do what it should")]
    Internal {
        /// What it said.
        source: Cause,
    },
}

/// How far a call had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It waited for a place in the pool.
    Pool,
    /// It connected, sent its request, or waited for the head of the response.
    Head,
    /// It had got so many bytes of the body.
    Body {
        /// How many, decompressed.
        bytes: usize,
    },
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool => f.write_str("waiting for a place"),
            Self::Head => f.write_str("waiting for the head of the response"),
            Self::Body { bytes } => write!(f, "reading the body, of which {bytes} bytes had come"),
        }
    }
}

/// Why a URL is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlFault {
    /// It is none.
    #[error("{0}")]
    Syntax(#[from] url::ParseError),
    /// Its scheme is another one.
    #[error("its scheme is {0:?}, and only http and https are called")]
    Scheme(String),
    /// It has no host.
    #[error("it has no host")]
    Host,
    /// It has a user or a password in it. Send a header instead, which is no part of any message.
    #[error("it has a user or a password in it")]
    Credentials,
}

/// Why a header is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Its name has characters that no name has.
    #[error("that is no name of a header")]
    Name,
    /// Its value has a control character in it: CR, LF or NUL, for example, with which a value could become a header.
    #[error("its value has a control character in it")]
    Value,
    /// It says how the message is framed or where it goes, which the client does itself.
    #[error("it is the client's own")]
    Framing,
}

/// A body that is not what it was taken for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The response is of another type; often a page of a proxy that explains itself to people.
    #[error("the response is {found}, not JSON")]
    ContentType {
        /// The type.
        found: String,
    },
    /// It is no JSON, or not of the shape that was asked for.
    #[error("the response is not the JSON that was asked for")]
    Json(#[source] serde_json::Error),
    /// The text is in a character set that is not read.
    #[error("the response is in the character set {found}, and only utf-8 and latin-1 are read")]
    Charset {
        /// The character set.
        found: String,
    },
}

impl Classified for HttpError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Url { .. } | Self::Header { .. } | Self::Address { .. } => ErrorClass::Invalid,
            Self::Busy { .. } => ErrorClass::Overload,
            Self::Unresolved { .. }
            | Self::Refused { .. }
            | Self::ConnectTimeout { .. }
            | Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Reset { .. }
            | Self::Cut { .. } => ErrorClass::Transient,
            Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Decode { .. }
            | Self::TooLarge { .. }
            | Self::Redirects { .. }
            | Self::RedirectLoop { .. } => ErrorClass::Permanent,
            Self::Internal { .. } => ErrorClass::Internal,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

impl Classified for UrlFault {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl Classified for HeaderFault {
    fn class(&self) -> ErrorClass {
        ErrorClass::Invalid
    }
}

impl Classified for BodyError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}
