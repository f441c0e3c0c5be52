use std::sync::{Mutex, PoisonError};

use crate::spec::PipelineSpec;

/// Where calls go while the services are played: each host that is called is dealt to one of the servers.
#[derive(Debug, Default)]
pub(crate) struct StandIn {
    servers: Vec<String>,
    /// The hosts in the order in which they were dealt out, at most [`HOSTS_MAX`].
    hosts: Mutex<Vec<String>>,
}

/// More hosts than that share a server by chance.
const HOSTS_MAX: usize = 1024;

impl StandIn {
    /// Deals out the endpoints of a pipeline first, so that each has the same server in every run.
    pub(crate) fn new(servers: Vec<String>, pipeline: &PipelineSpec) -> Self {
        let endpoints = pipeline.backends.iter().flat_map(|backend| &backend.endpoints);
        let mut hosts: Vec<String> = Vec::new();
        for endpoint in endpoints {
            let (host, _) = parts(endpoint.expose());
            if hosts.len() < HOSTS_MAX && !hosts.iter().any(|known| known == host) {
                hosts.push(host.to_owned());
            }
        }
        Self { servers, hosts: Mutex::new(hosts) }
    }

    /// Whether the services are played.
    pub(crate) fn plays(&self) -> bool {
        !self.servers.is_empty()
    }

    /// The address that is called instead of a URL, if the services are played.
    pub(crate) fn instead(&self, url: &str) -> Option<String> {
        if !self.plays() {
            return None;
        }
        let (host, path) = parts(url);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match hosts.iter().position(|known| known == host) {
            Some(number) => number,
            None if hosts.len() < HOSTS_MAX => {
                hosts.push(host.to_owned());
                hosts.len() - 1
            }
            None => host.len(),
        };
        self.servers.get(number % self.servers.len()).map(|server| format!("{server}{path}"))
    }
}

/// The host of a URL, and what is behind it.
fn parts(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at))
}
