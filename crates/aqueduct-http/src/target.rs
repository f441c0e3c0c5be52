use std::net::IpAddr;

use url::{Host, Url};

use crate::error::{HttpError, UrlFault};

/// A URL that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    url: Url,
    pub(crate) origin: Origin,
}

/// What has connections of its own: credentials for one are for no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

impl Target {
    /// Reads what a caller wrote.
    pub(crate) fn parse(text: &str) -> Result<Self, HttpError> {
        Url::parse(text)
            .map_err(UrlFault::Syntax)
            .and_then(Self::new)
            .map_err(|fault| HttpError::Url { fault })
    }

    /// Reads where a redirect leads from here. A fragment is for who reads the page, and no part of a call.
    pub(crate) fn join(&self, location: &str) -> Result<Self, HttpError> {
        self.url
            .join(location)
            .map_err(UrlFault::Syntax)
            .and_then(Self::new)
            .map_err(|fault| HttpError::Url { fault })
    }

    fn new(mut url: Url) -> Result<Self, UrlFault> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(UrlFault::Scheme(other.to_owned())),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlFault::Credentials);
        }
        url.set_fragment(None);
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(UrlFault::Host)?.to_owned();
        let port = url.port_or_known_default().ok_or(UrlFault::Host)?;
        Ok(Self { url, origin: Origin { tls, host, port } })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// The host, where it is an address. Every way to write one has become the same here.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        }
    }

    /// What may be shown to anybody: scheme, host and path.
    pub(crate) fn shown(&self) -> String {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.into()
    }
}
