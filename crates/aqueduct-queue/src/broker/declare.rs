use std::collections::HashMap;
use std::sync::Arc;

use crate::capability::Capability;
use crate::config::{Config, Fairness, check_name};
use crate::error::{Broken, DeclareError};
use crate::log::{Change, Group, GroupId, WRITES_MAX};
use crate::topic::Pattern;

use super::Broker;
use super::state::State;

impl Broker {
    pub(super) async fn declare_queue(&self, queue: &str, config: &Config) -> Result<(), DeclareError> {
        check_name("queue", queue)?;
        for capability in needs(config) {
            self.capabilities.require(capability)?;
        }
        let permit = self.permit().await?;
        let config = Arc::new(config.clone());
        let pending = {
            let _order = self.order();
            let added = {
                let mut state = self.lock();
                state.check()?;
                let added = state.missing_groups(queue, &config)?;
                state.configure(queue, &config);
                added
            };
            if added.is_empty() {
                return Ok(());
            }
            let changes = added.iter().cloned().map(Change::Group).collect();
            self.submit(permit, changes, move |state, _| {
                added.into_iter().for_each(|group| state.add_group(group, &config));
            })
        };
        Ok(pending.done().await?)
    }

    /// Waits for all writes that are under way, and lets nobody begin another one.
    pub(super) async fn shut(&self) -> Result<(), Broken> {
        // `WRITES_MAX` is far below 2^32.
        let all = u32::try_from(WRITES_MAX).unwrap_or(u32::MAX);
        // It fails only where it was closed before.
        let Ok(writes) = self.permits.acquire_many(all).await else { return Ok(()) };
        self.permits.close();
        writes.forget();
        let broken = self.lock().broken.clone();
        self.lock().fail(Broken::Closed);
        let log = Arc::clone(&self.log);
        let failed =
            |error: tokio::task::JoinError| Broken::Write { what: "the end", cause: error.to_string() };
        tokio::task::spawn_blocking(move || log.close()).await.map_err(failed)??;
        broken.map_or(Ok(()), Err)
    }
}

/// What a configuration asks of a backend.
fn needs(config: &Config) -> Vec<Capability> {
    let mut needs =
        vec![Capability::Priority, Capability::Lease, Capability::DeadLetters, Capability::Capacity];
    if config.ageing.is_some() {
        needs.push(Capability::Ageing);
    }
    if config.fairness == Fairness::ByTenant {
        needs.push(Capability::Fairness);
    }
    if config.groups.len() > 1 {
        needs.push(Capability::Groups);
    }
    if config.groups.iter().any(|(_, pattern)| *pattern != Pattern::all()) {
        needs.push(Capability::Topics);
    }
    needs
}

impl State {
    /// The groups of a configuration that are not there.
    fn missing_groups(&self, queue: &str, config: &Config) -> Result<Vec<Group>, DeclareError> {
        let there: HashMap<&str, &Pattern> = self
            .queues
            .get(queue)
            .into_iter()
            .flat_map(|queue| queue.groups.iter().filter_map(|id| self.groups.get(id)))
            .map(|group| (&*group.group.name, &group.pattern))
            .collect();
        let mut missing = Vec::new();
        let first = self.next_group().0;
        let default = [(Config::DEFAULT_GROUP.into(), Pattern::all())];
        let wanted = if config.groups.is_empty() && there.is_empty() { &default } else { &config.groups[..] };
        for ((name, pattern), id) in wanted.iter().zip(first..) {
            match there.get(&**name) {
                Some(other) if *other != pattern => {
                    return Err(DeclareError::OtherPattern {
                        queue: queue.to_owned(),
                        group: name.to_string(),
                        there: other.to_string(),
                        wanted: pattern.to_string(),
                    });
                }
                Some(_) => {}
                None => missing.push(Group {
                    id: GroupId(id),
                    queue: queue.into(),
                    name: name.clone(),
                    pattern: pattern.as_str().into(),
                    paused: false,
                }),
            }
        }
        Ok(missing)
    }

    /// Gives a queue that is there another configuration.
    fn configure(&mut self, queue: &str, config: &Arc<Config>) {
        let Some(found) = self.queues.get_mut(queue) else { return };
        found.config = Arc::clone(config);
        for id in &found.groups {
            if let Some(group) = self.groups.get_mut(id) {
                group.config = Arc::clone(config);
                group.index.configure(config);
            }
        }
        self.tell_room(queue);
    }
}
