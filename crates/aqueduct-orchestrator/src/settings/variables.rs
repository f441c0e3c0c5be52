//! The environment variables, in one table for the reader and the reference.

use std::collections::BTreeMap;

use super::wrong;
use crate::error::ConfigError;
use crate::redacted::Redacted;

/// One variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) default: &'static str,
    /// The key of the file that it covers, if there is one.
    pub(crate) key: Option<&'static str>,
    pub(crate) meaning: &'static str,
    /// False where no part uses it yet: it is read, checked and shown.
    pub(crate) used: bool,
}

/// What a variable takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Takes {
    /// An integer within the range, its ends included.
    Integer(u64, u64),
    /// An address with one of these schemes.
    Url(&'static [&'static str]),
    /// A number of nodes, or their addresses.
    Nodes,
}

/// Every variable.
pub(crate) const VARIABLES: [Variable; 14] = [
    Variable {
        name: "AQUEDUCT_MAX_WORKERS",
        takes: Takes::Integer(1, 1024),
        default: "two for each core",
        key: Some("run.workers"),
        meaning: "threads that work on batches",
        used: true,
    },
    Variable {
        name: "AQUEDUCT_BATCH_SIZE",
        takes: Takes::Integer(1, 1_000_000),
        default: "100",
        key: Some("run.batch_size"),
        meaning: "the most items in one batch; wins over `BATCH_SIZE`, which is less specific",
        used: true,
    },
    Variable {
        name: "BATCH_SIZE",
        takes: Takes::Integer(1, 1_000_000),
        default: "100",
        key: Some("run.batch_size"),
        meaning: "the most items in one batch; also the most results in one call of an `http` sink",
        used: true,
    },
    Variable {
        name: "CHECKPOINT_INTERVAL",
        takes: Takes::Integer(1, 1_000_000_000),
        default: "10",
        key: Some("run.checkpoint_interval"),
        meaning: "a named checkpoint is kept every so many batches",
        used: true,
    },
    Variable {
        name: "MEMORY_CACHE_SIZE",
        takes: Takes::Integer(1, 1 << 32),
        default: "1000",
        key: None,
        meaning: "the most results in memory of each `cached` stage, unless it says itself with `capacity`",
        used: true,
    },
    Variable {
        name: "AQUEDUCT_CACHE_NODES",
        takes: Takes::Nodes,
        default: "3",
        key: Some("cache.nodes"),
        meaning: "nodes of a cache that is spread over several: so many in this process, or the addresses of servers; wins \
                  over `REDIS_URL`, which is less specific. The default is for `nodes = \"local\"`",
        used: true,
    },
    Variable {
        name: "MAX_REQUESTS_PER_MINUTE",
        takes: Takes::Integer(0, 1_000_000_000),
        default: "60",
        key: Some("backend.requests_per_minute"),
        meaning: "the most calls of each backend in any minute",
        used: true,
    },
    Variable {
        name: "CONNECTION_POOL_SIZE",
        takes: Takes::Integer(1, 10_000),
        default: "10",
        key: Some("backend.hosts"),
        meaning: "the most hosts with connections at once",
        used: true,
    },
    Variable {
        name: "CONNECTION_POOL_MAX",
        takes: Takes::Integer(1, 10_000),
        default: "20",
        key: Some("backend.connections_per_host"),
        meaning: "the most connections to one host",
        used: true,
    },
    Variable {
        name: "CIRCUIT_BREAKER_THRESHOLD",
        takes: Takes::Integer(0, 1_000_000),
        default: "5",
        key: Some("backend.breaker_failures"),
        meaning: "so many failures in a row open a circuit",
        used: true,
    },
    Variable {
        name: "CIRCUIT_BREAKER_TIMEOUT",
        takes: Takes::Integer(1, 86_400),
        default: "300",
        key: Some("backend.breaker_open_seconds"),
        meaning: "for how many seconds a circuit stays open",
        used: true,
    },
    Variable {
        name: "RETRY_MAX_ATTEMPTS",
        takes: Takes::Integer(0, 100),
        default: "3",
        key: Some("backend.retries"),
        meaning: "how often a failed call is made again after the first",
        used: true,
    },
    Variable {
        name: "REDIS_URL",
        takes: Takes::Url(&["redis", "rediss", "unix"]),
        default: "no Redis",
        key: Some("cache.redis"),
        meaning: "the Redis server through which pipelines share cached results; printed nowhere, it may hold a password",
        used: true,
    },
    Variable {
        name: "OTEL_ENDPOINT",
        takes: Takes::Url(&["http", "https"]),
        default: "no traces",
        key: None,
        meaning: "the OTLP collector that traces go to",
        used: false,
    },
];

/// The variables that are set, and right.
#[derive(Default)]
pub(crate) struct Variables {
    integers: BTreeMap<&'static str, u64>,
    texts: BTreeMap<&'static str, Redacted>,
}

impl Variables {
    /// An integer, with the name of its variable.
    pub(crate) fn integer(&self, name: &'static str) -> Option<(&'static str, u64)> {
        self.integers.get(name).map(|value| (name, *value))
    }

    /// How many nodes, where the variable says a number.
    pub(crate) fn node_count(&self) -> Option<String> {
        let nodes = self.texts.get("AQUEDUCT_CACHE_NODES")?.expose();
        (!nodes.contains("://")).then(|| nodes.to_owned())
    }

    /// A text.
    pub(crate) fn text(&self, name: &'static str) -> Option<Redacted> {
        self.texts.get(name).cloned()
    }

    /// Reads and checks every variable.
    pub(crate) fn read(environment: &dyn Fn(&str) -> Option<String>, errors: &mut Vec<ConfigError>) -> Self {
        let mut values = Self::default();
        for Variable { name, takes, .. } in VARIABLES {
            let Some(text) = environment(name).filter(|text| !text.trim().is_empty()) else { continue };
            match takes {
                Takes::Integer(least, most) => {
                    match text.trim().parse::<u64>().ok().filter(|value| (least..=most).contains(value)) {
                        Some(value) => {
                            values.integers.insert(name, value);
                        }
                        None => errors.push(wrong(
                            name,
                            format!(
                                "the value is {:?}, and must be an integer from {least} to {most}",
                                shortened(&text)
                            ),
                        )),
                    }
                }
                Takes::Nodes if text.contains("://") => {
                    values.texts.insert(name, Redacted::new(format!("${{env:{name}}}"), text.trim()));
                }
                Takes::Nodes => {
                    match text.trim().parse::<u16>().ok().filter(|count| (1..=1024).contains(count)) {
                        Some(count) => {
                            values.texts.insert(name, Redacted::plain(count.to_string()));
                        }
                        None => errors.push(wrong(
                            name,
                            format!(
                                "the value is {:?}, and must be an integer from 1 to 1024, or addresses redis://HOST:PORT",
                                shortened(&text)
                            ),
                        )),
                    }
                }
                Takes::Url(schemes) => {
                    let known = text
                        .trim()
                        .split_once("://")
                        .is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty());
                    if known {
                        values.texts.insert(name, Redacted::new(format!("${{env:{name}}}"), text.trim()));
                    } else {
                        // The value is not shown: it may hold a password.
                        let schemes: Vec<String> =
                            schemes.iter().map(|scheme| format!("{scheme}://")).collect();
                        errors
                            .push(wrong(name, format!("the value must start with {}", schemes.join(" or "))));
                    }
                }
            }
        }
        values
    }
}

/// Enough of a wrong value to recognise it by.
fn shortened(text: &str) -> String {
    const LETTERS_MAX: usize = 40;
    text.chars().take(LETTERS_MAX).collect()
}

// The text of a default is written by hand above; a test holds it to the constants.
#[cfg(test)]
mod tests {
    use super::VARIABLES;
    use crate::settings::defaults;

    #[test]
    fn the_defaults_of_the_reference_are_those_of_the_reader() {
        for (name, default) in [
            ("AQUEDUCT_BATCH_SIZE", defaults::BATCH_SIZE),
            ("BATCH_SIZE", defaults::WRITE_SIZE),
            ("CHECKPOINT_INTERVAL", defaults::CHECKPOINT_INTERVAL),
            ("MEMORY_CACHE_SIZE", defaults::MEMORY_CACHE_ENTRIES),
            ("AQUEDUCT_CACHE_NODES", defaults::CACHE_NODES),
            ("MAX_REQUESTS_PER_MINUTE", defaults::REQUESTS_PER_MINUTE),
            ("CONNECTION_POOL_SIZE", defaults::POOL_HOSTS),
            ("CONNECTION_POOL_MAX", defaults::CONNECTIONS_PER_HOST),
            ("CIRCUIT_BREAKER_THRESHOLD", defaults::BREAKER_FAILURES),
            ("CIRCUIT_BREAKER_TIMEOUT", defaults::BREAKER_OPEN_SECONDS),
            ("RETRY_MAX_ATTEMPTS", defaults::RETRIES),
        ] {
            let variable = VARIABLES.iter().find(|variable| variable.name == name).expect("a variable");
            assert_eq!(variable.default, default.to_string(), "{name}");
        }
    }
}
