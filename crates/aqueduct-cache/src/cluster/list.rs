use std::str::FromStr;

use super::ring::NODES_MAX;
use crate::error::ConfigError;

/// Which nodes there are, as an operator writes it: `local:3`, or `redis://a:6379,redis://b:6379`.
///
/// It says which, and makes none: what a server is reached with is not decided here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeList {
    /// So many in the memory of the process.
    Local(usize),
    /// Servers by their addresses, each once. The address is the name of the node, and decides which keys it has.
    Redis(Vec<String>),
}

const FIELD: &str = "nodes";
const ALLOWED: &str =
    "local:N with N from 1 to 1024, or up to 1024 different addresses redis://HOST:PORT with commas between";

impl FromStr for NodeList {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let error = || ConfigError::new(FIELD, format_args!("{text:?}"), ALLOWED);
        let text = text.trim();
        if let Some(count) = text.strip_prefix("local:") {
            let count = count.trim().parse().map_err(|_| error())?;
            return if (1..=NODES_MAX).contains(&count) { Ok(Self::Local(count)) } else { Err(error()) };
        }
        let addresses: Vec<String> = text.split(',').map(|address| address.trim().to_owned()).collect();
        let is_address = |address: &String| {
            let rest = address.strip_prefix("redis://").or_else(|| address.strip_prefix("rediss://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
        };
        let mut distinct: Vec<&String> = addresses.iter().collect();
        distinct.sort_unstable();
        distinct.dedup();
        if addresses.len() > NODES_MAX
            || distinct.len() < addresses.len()
            || !addresses.iter().all(is_address)
        {
            return Err(error());
        }
        Ok(Self::Redis(addresses))
    }
}
