use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::{AddressKind, not_public};

/// Which addresses are connected to. As the resolver of every connection it gives those that it has checked, and
/// nothing looks a name up a second time.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    allow_private: bool,
    resolved: Arc<HashMap<String, Vec<IpAddr>>>,
}

/// An address that is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind}")]
pub(crate) struct NotAllowed {
    pub(crate) address: IpAddr,
    pub(crate) kind: AddressKind,
}

impl Guard {
    pub(crate) fn new(allow_private: bool, resolved: HashMap<String, Vec<IpAddr>>) -> Self {
        Self { allow_private, resolved: Arc::new(resolved) }
    }

    pub(crate) fn check(&self, address: IpAddr) -> Result<(), NotAllowed> {
        match not_public(address) {
            Some(kind) if !self.allow_private => Err(NotAllowed { address, kind }),
            _ => Ok(()),
        }
    }

    /// Keeps those that may be connected to; an error when there were some and none is left.
    fn keep(&self, mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, NotAllowed> {
        let mut refused = None;
        addresses.retain(|address| match self.check(*address) {
            Ok(()) => true,
            Err(not_allowed) => {
                refused.get_or_insert(not_allowed);
                false
            }
        });
        match refused {
            Some(not_allowed) if addresses.is_empty() => Err(not_allowed),
            _ => Ok(addresses),
        }
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = match self.resolved.get(name) {
            // Configuration has named them, and it is data that the guard is against.
            Some(addresses) => addresses.clone(),
            None => {
                let found = tokio::net::lookup_host((name, 0)).await?;
                self.keep(found.map(|address| address.ip()).collect())?
            }
        };
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
        }
        Ok(addresses)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.look_up(name.as_str()).await?;
            // Port 0 is replaced by that of the URL.
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn of_the_addresses_of_a_name_only_those_that_are_allowed_are_used() {
        let guard = Guard::new(false, HashMap::new());
        let mixed = addresses(&["10.0.0.1", "8.8.8.8", "::1", "2606:4700::1111"]);
        assert_eq!(guard.keep(mixed.clone()), Ok(addresses(&["8.8.8.8", "2606:4700::1111"])));
        let own = addresses(&["10.0.0.1", "::1"]);
        let refused = NotAllowed { address: own[0], kind: AddressKind::Private };
        assert_eq!(guard.keep(own), Err(refused));
        assert_eq!(Guard::new(true, HashMap::new()).keep(mixed.clone()), Ok(mixed));
    }
}
