//! Where results are kept, and for how long.

use std::str::FromStr;
use std::time::Duration;

use aqueduct_cache::{NodeList, Redis, RedisConfig};
use aqueduct_core::Clock;

use super::Inputs;
use super::keys::{self, Key};
use super::pipeline::written;
use super::reader::{Reader, Table};
use super::sections::section;
use crate::error::{ConfigError, Place};
use crate::redacted::Redacted;
use crate::settings::{Origin, Setting, Variables, defaults};
use crate::spec::{CacheSpec, KeptSpec, SharedCacheSpec};

/// Reads `[cache]`. Wrong values are noted and stand at their defaults.
pub(super) fn read(
    reader: &mut Reader<'_, '_>,
    top: Table<'_>,
    inputs: &Inputs<'_>,
    variables: &Variables,
    is_used: bool,
) -> CacheSpec {
    let none = Table { members: &[], at: None, called: "[cache]" };
    let table = section(reader, top, &keys::CACHE, "[cache]").unwrap_or(none);
    reader.check_keys(table, &[keys::CACHE_SECTION], &[]);
    let disk = reader.boolean(table, &keys::CACHE_DISK).unwrap_or(true);
    let disk_bytes_max = reader.integer(table, &keys::CACHE_DISK_BYTES).unwrap_or(defaults::CACHE_DISK_BYTES);
    let shared = shared(reader, table, inputs, variables, is_used);
    CacheSpec { disk, disk_bytes_max, shared }
}

/// One value with two ways to write it. `AQUEDUCT_CACHE_NODES` is more specific than `REDIS_URL`, which may be there for
/// something else.
fn shared(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    inputs: &Inputs<'_>,
    variables: &Variables,
    is_used: bool,
) -> Setting<SharedCacheSpec> {
    let redis = text(reader, table, inputs, &keys::CACHE_REDIS);
    let nodes = text(reader, table, inputs, &keys::CACHE_NODES);
    let flagged =
        |found: &Option<(Redacted, Option<String>)>| found.as_ref().is_some_and(|(_, flag)| flag.is_some());
    if redis.is_some()
        && nodes.is_some()
        && flagged(&redis) == flagged(&nodes)
        && let Some(entry) = table.entry(&keys::CACHE_NODES)
    {
        let hint = "keep redis for one server, or nodes for several".to_owned();
        reader.diagnostics.error(&entry.at, "[cache] has both redis and nodes", Some(hint));
    }
    let redis = redis.map(|(url, flag)| (SharedCacheSpec::Redis(url), flag, &keys::CACHE_REDIS));
    let count = || variables.node_count().unwrap_or_else(|| defaults::CACHE_NODES.to_string());
    let nodes = nodes.map(|(nodes, flag)| {
        let nodes = if nodes.expose() == "local" { local(&count()) } else { nodes };
        (SharedCacheSpec::Nodes(nodes), flag, &keys::CACHE_NODES)
    });
    let (mut flag, mut file) = (None, None);
    for (value, by_flag, key) in redis.into_iter().chain(nodes) {
        match by_flag {
            Some(by_flag) => flag = Some((value, Origin::Flag(by_flag), Some(key))),
            None => file = Some((value, Origin::File, Some(key))),
        }
    }
    let variable = || {
        let nodes = variables.text("AQUEDUCT_CACHE_NODES").map(|nodes| {
            let nodes = if nodes.expose().contains("://") { nodes } else { local(nodes.expose()) };
            (SharedCacheSpec::Nodes(nodes), Origin::Variable("AQUEDUCT_CACHE_NODES"), None)
        });
        nodes.or_else(|| {
            let url = variables.text("REDIS_URL")?;
            Some((SharedCacheSpec::Redis(url), Origin::Variable("REDIS_URL"), None))
        })
    };
    let none = || (SharedCacheSpec::None, Origin::Default, None);
    let (value, origin, key) = flag.or_else(variable).or(file).unwrap_or_else(none);
    // A server in the environment may be one that this file has no use for.
    if (is_used || key.is_some())
        && let Some((message, hint)) = fault(&value)
    {
        match (key.and_then(|key| table.entry(key)), &origin) {
            (Some(entry), _) => reader.diagnostics.error(&entry.at, message, Some(hint.to_owned())),
            (None, Origin::Variable(name)) => {
                let place = Place::Variable { name };
                reader.diagnostics.placed(ConfigError::new(place, message.to_owned(), Some(hint.to_owned())));
            }
            (None, _) => {}
        }
        return Setting { value: SharedCacheSpec::None, origin: Origin::Default };
    }
    Setting { value, origin }
}

fn text(
    reader: &mut Reader<'_, '_>,
    table: Table<'_>,
    inputs: &Inputs<'_>,
    key: &Key,
) -> Option<(Redacted, Option<String>)> {
    table.entry(key)?;
    let value = written(inputs, table, key, reader.text(table, key)?);
    Some((value.value, value.flag))
}

fn local(count: &str) -> Redacted {
    Redacted::plain(format!("local:{}", count.trim()))
}

/// What is wrong with it, and how it is written. Neither shows the value, which may hold a password.
fn fault(shared: &SharedCacheSpec) -> Option<(&'static str, &'static str)> {
    let is_address = |url: &str| Redis::new(url, RedisConfig::default(), Clock::system()).is_ok();
    match shared {
        SharedCacheSpec::None => None,
        SharedCacheSpec::Redis(url) => (!is_address(url.expose())).then_some((
            "this is not the address of a Redis server",
            "it is written redis://USER:PASSWORD@HOST:PORT/DB or unix:///PATH; TLS (rediss://) is not built in",
        )),
        SharedCacheSpec::Nodes(nodes) => {
            let is_list = match NodeList::from_str(nodes.expose()) {
                Ok(NodeList::Redis(addresses)) => addresses.iter().all(|address| is_address(address)),
                Ok(NodeList::Local(_)) => true,
                Err(_) => false,
            };
            (!is_list).then_some((
                "this is not a list of nodes",
                "it is written local:3, or redis://A:6379,redis://B:6379 with each server once",
            ))
        }
    }
}

/// Reads for how long results are kept, and how many.
pub(super) fn kept(reader: &mut Reader<'_, '_>, table: Table<'_>, variables: &Variables) -> Option<KeptSpec> {
    let ttl = reader.number(table, &keys::CACHE_TTL);
    let stale = reader.number(table, &keys::CACHE_STALE);
    let capacity = match table.entry(&keys::CACHE_CAPACITY) {
        Some(_) => reader.written_integer(table, &keys::CACHE_CAPACITY),
        // The key of one stage is more specific than the variable for all.
        None => Some(
            variables.integer("MEMORY_CACHE_SIZE").map_or(defaults::MEMORY_CACHE_ENTRIES, |(_, size)| size),
        ),
    };
    Some(KeptSpec {
        ttl: Duration::from_secs_f64(ttl?),
        stale: Duration::from_secs_f64(stale?),
        capacity: capacity?,
    })
}
