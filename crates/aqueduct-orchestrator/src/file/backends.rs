//! The backends of the file, and its budget.

use std::time::Duration;

use super::Inputs;
use super::cache;
use super::keys::{self, Key};
use super::pipeline::written;
use super::reader::{Reader, Table};
use super::tree::{Entry, Raw};
use crate::settings::{Ratio, Setting, Variables, defaults, join};
use crate::spec::{AllowanceSpec, BackendSpec, Balance, ClientSpec, Concurrency, Scope};
use crate::suggest;

/// What the backends and the budget of a file are, for the stages that name them.
pub(super) struct Backends<'a, 'b> {
    /// `None` for one in which an error was noted.
    pub(super) specs: Vec<Option<BackendSpec>>,
    names: Vec<Option<String>>,
    pub(super) budget: Vec<AllowanceSpec>,
    inputs: &'a Inputs<'b>,
    variables: &'a Variables,
}

/// Reads every `[[backend]]` and `[budget]`.
pub(super) fn read<'a, 'b>(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    inputs: &'a Inputs<'b>,
    variables: &'a Variables,
) -> Backends<'a, 'b> {
    let mut backends =
        Backends { specs: Vec::new(), names: Vec::new(), budget: budget(reader, top), inputs, variables };
    let Some(entry) = top.entry(&keys::BACKEND) else { return backends };
    let Raw::List(entries) = &entry.value else {
        let message = format!("backends are a list, found {}", entry.value.described());
        reader.diagnostics.error(&entry.at, message, Some("each is written [[backend]]".to_owned()));
        return backends;
    };
    for entry in entries {
        backends.add(reader, entry);
    }
    backends
}

fn budget(reader: &mut Reader<'_, '_>, top: Table<'_>) -> Vec<AllowanceSpec> {
    let integers = reader.integers(top, &keys::BUDGET).unwrap_or_default();
    integers.into_iter().map(|(name, limit)| AllowanceSpec { name, limit }).collect()
}

impl Backends<'_, '_> {
    fn add(&mut self, reader: &mut Reader<'_, '_>, entry: &Entry) {
        let Raw::Table(members) = &entry.value else {
            let message = format!("a backend is a table, found {}", entry.value.described());
            reader.diagnostics.error(&entry.at, message, Some("it is written [[backend]]".to_owned()));
            return;
        };
        let unnamed = Table { members, at: Some(&entry.at), called: "the backend" };
        let name = reader.name(unnamed, &keys::BACKEND_NAME);
        let called = name.as_ref().map_or("the backend".to_owned(), |name| format!("backend {name:?}"));
        let table = Table { called: &called, ..unnamed };
        if let Some(name) = &name
            && self.names.iter().flatten().any(|known| known == name)
        {
            let at = table.entry(&keys::BACKEND_NAME).map_or(&entry.at, |entry| &entry.at);
            let message = format!("there are two backends {name:?}");
            reader.diagnostics.error(at, message, Some("names are unique".to_owned()));
        }
        reader.check_keys(table, &[keys::BACKEND_SECTION], &[]);
        let spec = name.clone().and_then(|name| self.spec(reader, table, name));
        self.names.push(name);
        self.specs.push(spec);
    }

    /// The backend of a stage that names none: one of its own.
    pub(super) fn own(&mut self, reader: &mut Reader<'_, '_>, stage: &str) -> Option<usize> {
        let empty = Table { members: &[], at: None, called: "the backend" };
        let spec = self.spec(reader, empty, stage.to_owned());
        self.names.push(None);
        self.specs.push(spec);
        Some(self.specs.len() - 1)
    }

    /// The backend that a stage names. None when there is none, which is noted.
    pub(super) fn named(&self, reader: &mut Reader<'_, '_>, table: Table<'_>, key: &Key) -> Option<usize> {
        let name = reader.name(table, key)?;
        let found = self.names.iter().position(|known| known.as_deref() == Some(&name));
        if found.is_none() {
            let known = self.names.iter().flatten().map(String::as_str);
            unknown(reader, table, key, "backend", &name, known);
        }
        found
    }

    /// The allowance that a stage names. None when there is none, which is noted.
    pub(super) fn allowance(
        &self,
        reader: &mut Reader<'_, '_>,
        table: Table<'_>,
        key: &Key,
    ) -> Option<usize> {
        let name = reader.name(table, key)?;
        let found = self.budget.iter().position(|known| known.name == name);
        if found.is_none() {
            let known = self.budget.iter().map(|known| known.name.as_str());
            unknown(reader, table, key, "allowance in [budget]", &name, known);
        }
        found
    }

    /// What the environment says.
    pub(super) fn variables(&self) -> &Variables {
        self.variables
    }

    /// Whether calls to it name a path on its endpoints.
    pub(super) fn has_endpoints(&self, index: usize) -> Option<bool> {
        self.specs.get(index)?.as_ref().map(|spec| !spec.endpoints.is_empty())
    }

    fn spec(&self, reader: &mut Reader<'_, '_>, table: Table<'_>, name: String) -> Option<BackendSpec> {
        let endpoints = match table.entry(&keys::ENDPOINTS) {
            Some(entry) => {
                let list = reader.list(table, &keys::ENDPOINTS);
                for url in list.iter().flatten() {
                    if let Some(fault) = endpoint_fault(url.expose()) {
                        reader.diagnostics.error(&entry.at, format!("the endpoint {url} {fault}"), None);
                    }
                }
                list
            }
            None => Some(Vec::new()),
        };
        let balance = reader.choice(table, &keys::BALANCE);
        let per = match table.entry(&keys::PER) {
            Some(_) => reader.choice(table, &keys::PER),
            None => endpoints.as_ref().map(|list| if list.is_empty() { "host" } else { "backend" }),
        };
        let requests_per_minute = self.integer(
            reader,
            table,
            &keys::REQUESTS_PER_MINUTE,
            "MAX_REQUESTS_PER_MINUTE",
            defaults::REQUESTS_PER_MINUTE,
        );
        let burst = match table.entry(&keys::BURST) {
            Some(_) => reader.written_integer(table, &keys::BURST),
            None => Some((requests_per_minute.value / 100).clamp(1, 1_000_000)),
        };
        let concurrency = reader.choice(table, &keys::CONCURRENCY);
        let calls_max = small(reader.integer(table, &keys::CALLS_MAX));
        let mut seconds = |key: &Key| reader.number(table, key).map(Duration::from_secs_f64);
        let retry_delay = seconds(&keys::RETRY_DELAY_SECONDS);
        let retry_delay_max = seconds(&keys::RETRY_DELAY_MAX_SECONDS);
        let timeout = seconds(&keys::CALL_TIMEOUT_SECONDS);
        let deadline = seconds(&keys::DEADLINE_SECONDS);
        let connect_timeout = seconds(&keys::CONNECT_TIMEOUT_SECONDS);
        let retry_budget = reader.number(table, &keys::RETRY_BUDGET_RATIO).map(Ratio::checked);
        let hedge_after = optional(reader, table, &keys::HEDGE_AFTER_RATIO, |reader, key| {
            reader.written_number(table, key).map(Ratio::checked)
        });
        let response_bytes_max = reader.integer(table, &keys::RESPONSE_BYTES_MAX);
        let redirects_max = small(reader.integer(table, &keys::REDIRECTS_MAX));
        let allow_private = reader.boolean(table, &keys::ALLOW_PRIVATE);
        let user_agent = optional(reader, table, &keys::USER_AGENT, |reader, key| reader.text(table, key));
        let root_certificate =
            optional(reader, table, &keys::ROOT_CERTIFICATE, |reader, key| reader.text(table, key));
        let cache = optional(reader, table, &keys::BACKEND_CACHE, |reader, key| {
            let entry = table.entry(key)?;
            let Raw::Table(members) = &entry.value else {
                let message = format!("cache is a section, found {}", entry.value.described());
                let hint = "it is written [backend.cache]".to_owned();
                reader.diagnostics.error(&entry.at, message, Some(hint));
                return None;
            };
            let called = format!("[backend.cache] of {}", table.called);
            let table = Table { members, at: Some(&entry.at), called: &called };
            reader.check_keys(table, &[keys::BACKEND_CACHE_SECTION], &[]);
            cache::kept(reader, table, self.variables)
        });
        let size = |setting: Setting<u64>| Setting {
            value: usize::try_from(setting.value).unwrap_or(usize::MAX),
            origin: setting.origin,
        };
        let count = |setting: Setting<u64>| Setting {
            value: u32::try_from(setting.value).unwrap_or(u32::MAX),
            origin: setting.origin,
        };
        let client = ClientSpec {
            hosts: size(self.integer(
                reader,
                table,
                &keys::POOL_HOSTS,
                "CONNECTION_POOL_SIZE",
                defaults::POOL_HOSTS,
            )),
            connections_per_host: size(self.integer(
                reader,
                table,
                &keys::CONNECTIONS_PER_HOST,
                "CONNECTION_POOL_MAX",
                defaults::CONNECTIONS_PER_HOST,
            )),
            connect_timeout: connect_timeout?,
            response_bytes_max: usize::try_from(response_bytes_max?).ok()?,
            redirects_max: redirects_max?,
            allow_private: allow_private?,
            user_agent: user_agent?,
            root_certificate: root_certificate?,
        };
        let open = self.integer(
            reader,
            table,
            &keys::BREAKER_OPEN_SECONDS,
            "CIRCUIT_BREAKER_TIMEOUT",
            defaults::BREAKER_OPEN_SECONDS,
        );
        Some(BackendSpec {
            name,
            endpoints: endpoints?,
            balance: match balance? {
                "least-connections" => Balance::LeastConnections,
                "round-robin" => Balance::RoundRobin,
                "adaptive" => Balance::Adaptive,
                _ => Balance::LeastResponseTime,
            },
            scope: if per? == "host" { Scope::Host } else { Scope::Backend },
            requests_per_minute,
            burst: small(burst)?,
            retries: count(self.integer(
                reader,
                table,
                &keys::RETRIES,
                "RETRY_MAX_ATTEMPTS",
                defaults::RETRIES,
            )),
            retry_delay: retry_delay?,
            retry_delay_max: retry_delay_max?.max(retry_delay?),
            retry_budget: retry_budget?,
            breaker_failures: count(self.integer(
                reader,
                table,
                &keys::BREAKER_FAILURES,
                "CIRCUIT_BREAKER_THRESHOLD",
                defaults::BREAKER_FAILURES,
            )),
            breaker_open: Setting { value: Duration::from_secs(open.value), origin: open.origin },
            concurrency: match concurrency? {
                "aimd" => Concurrency::Aimd(calls_max?),
                "gradient" => Concurrency::Gradient(calls_max?),
                _ => Concurrency::Fixed(calls_max?),
            },
            timeout: timeout?,
            deadline: deadline?,
            hedge_after: hedge_after?,
            cache: cache?,
            client,
        })
    }

    /// A flag, a variable, the file or the default. A wrong value in the file is noted and stands at its default.
    fn integer(
        &self,
        reader: &mut Reader<'_, '_>,
        table: Table<'_>,
        key: &Key,
        variable: &'static str,
        default: u64,
    ) -> Setting<u64> {
        let found = reader.written_integer(table, key).map(|value| written(self.inputs, table, key, value));
        join(found, self.variables.integer(variable), default)
    }
}

/// A key that may be absent. The outer None stands for an error that was noted.
#[expect(clippy::option_option, reason = "an error that was noted, no value, and a value are three things")]
pub(super) fn optional<T>(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    key: &Key,
    read: impl FnOnce(&mut Reader<'_, '_>, &Key) -> Option<T>,
) -> Option<Option<T>> {
    match table.entry(key) {
        None => Some(None),
        Some(_) => read(reader, key).map(Some),
    }
}

fn small(integer: Option<u64>) -> Option<u32> {
    integer.and_then(|integer| u32::try_from(integer).ok())
}

/// What is wrong with a base URL, if anything.
pub(super) fn endpoint_fault(url: &str) -> Option<&'static str> {
    let Some(rest) = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Some("begins with neither http:// nor https://");
    };
    if rest.is_empty() || rest.starts_with('/') {
        return Some("has no host");
    }
    if rest.contains(['?', '#']) {
        return Some("has a query or a fragment, which belongs to the url of a stage");
    }
    rest.contains('@').then_some("has a user in front of its host; say it in a header field")
}

fn unknown<'k>(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    key: &Key,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) {
    let hint = match suggest::nearest(name, known.clone()) {
        Some(near) => Some(format!("did you mean {near:?}?")),
        None => {
            let all: Vec<&str> = known.collect();
            (!all.is_empty())
                .then(|| format!("there {} {}", if all.len() == 1 { "is" } else { "are" }, all.join(", ")))
        }
    };
    if let Some(entry) = table.entry(key) {
        reader.diagnostics.error(&entry.at, format!("there is no {what} {name:?}"), hint);
    }
}
