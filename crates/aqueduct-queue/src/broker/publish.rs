use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::{ConfigError, Timestamp};

use crate::config::Config;
use crate::error::PublishError;
use crate::index::Tick;
use crate::log::{Body, Change, GroupId, Head};
use crate::message::{Durability, Message, Receipt};

use super::state::{State, later};
use super::{Broker, Pending};

/// What a publication becomes: what is written, and what the index learns when it is.
pub(super) struct Publication {
    now: Tick,
    wall: Timestamp,
    durability: Durability,
    pub(super) changes: Vec<Change>,
    copies: Vec<Copy>,
    receipts: Vec<Receipt>,
    /// Those that get something.
    queues: Vec<Box<str>>,
}

/// One message of one group.
struct Copy {
    head: Head,
    due: Option<Tick>,
}

impl Publication {
    pub(super) fn new(now: Tick, wall: Timestamp, durability: Durability) -> Self {
        let (changes, copies, receipts, queues) = Default::default();
        Self { now, wall, durability, changes, copies, receipts, queues }
    }

    /// Lets the messages into their groups, once they are safe.
    pub(super) fn arrive(self, state: &mut State) -> Vec<Receipt> {
        for copy in self.copies {
            if let Some(group) = state.groups.get_mut(&copy.head.group) {
                group.keep_promise(&copy.head, self.now, copy.due);
            }
        }
        for queue in self.queues {
            state.tell_pressure(&queue);
        }
        self.receipts
    }

    /// Gives a message its number and its places, or finds that it is there already.
    fn place(&mut self, name: &str, message: Message, route: &[GroupId], state: &mut State) {
        let Some(queue) = state.queues.get_mut(name) else { return };
        for dedup_id in queue.dedup.forget(self.now, queue.config.dedup_items_max) {
            self.changes.push(Change::Forget { queue: name.into(), dedup_id });
        }
        if let Some(id) = message.dedup_id.as_ref().and_then(|id| queue.dedup.find(id)) {
            self.receipts.push(Receipt { id, copies: 0, durability: self.durability, duplicate: true });
            return;
        }
        if self.queues.last().is_none_or(|last| &**last != name) {
            self.queues.push(name.into());
        }
        // `check` has seen that it is far below 4 GiB.
        let bytes = u32::try_from(message.bytes()).unwrap_or(u32::MAX);
        let window = queue.config.dedup_window;
        let topic = message.topic.as_ref().map(|topic| topic.as_str().into());
        let body = Body { body: message.body, topic, headers: message.headers };
        let delayed = !message.delay.is_zero();
        let mut first = None;
        for group in route {
            let id = state.next_id();
            let head = Head {
                id,
                group: *group,
                priority: message.priority,
                attempts: 0,
                published: self.wall,
                due: delayed.then(|| later(self.wall, message.delay)),
                bytes,
                key: message.key.clone(),
                tenant: message.tenant.clone().filter(|tenant| !tenant.is_empty()),
            };
            if let Some(group) = state.groups.get_mut(group) {
                group.promise(bytes);
            }
            self.changes.push(Change::Insert { head: head.clone(), body: body.clone() });
            self.copies.push(Copy { head, due: delayed.then(|| self.now.after(message.delay)) });
            first.get_or_insert(id);
        }
        let Some(id) = first else { return };
        if let Some(dedup_id) = message.dedup_id
            && let Some(queue) = state.queues.get_mut(name)
        {
            queue.dedup.remember(dedup_id.clone(), id, self.now.after(window));
            let until = later(self.wall, window);
            self.changes.push(Change::Remember { queue: name.into(), dedup_id, id, until });
        }
        // A queue has at most 64 groups.
        let copies = u32::try_from(route.len()).unwrap_or(u32::MAX);
        self.receipts.push(Receipt { id, copies, durability: self.durability, duplicate: false });
    }
}

impl Broker {
    pub(super) async fn publish_messages(
        &self,
        queue: &str,
        messages: Vec<Message>,
        wait: Duration,
    ) -> Result<Vec<Receipt>, PublishError> {
        let mut messages: Vec<(Box<str>, Message)> =
            messages.into_iter().map(|message| (queue.into(), message)).collect();
        let until = self.shared.clock.now().after(wait);
        let pending = loop {
            let room = {
                let state = self.lock();
                state.check()?;
                let found = state.queues.get(queue).map(|queue| Arc::clone(&queue.room));
                found.ok_or_else(|| PublishError::NoQueue { queue: queue.to_owned() })?
            };
            let mut room = pin!(room.notified());
            // From here on no room goes unnoticed.
            room.as_mut().enable();
            match self.try_publish(&mut messages).await {
                Err(full @ PublishError::Full { .. }) => {
                    let left = until.since(self.shared.clock.now());
                    if left.is_zero() {
                        return Err(full);
                    }
                    tokio::select! {
                        () = room => {}
                        () = self.shared.clock.sleep(left) => {}
                    }
                }
                other => break other?,
            }
        };
        Ok(pending.done().await?)
    }

    async fn try_publish(
        &self,
        messages: &mut Vec<(Box<str>, Message)>,
    ) -> Result<Pending<Vec<Receipt>>, PublishError> {
        let permit = self.permit().await?;
        let _order = self.order();
        let publication = Publication::new(self.now(), self.wall(), self.capabilities.durability);
        let mut publication = self.lock().prepare(messages, publication)?;
        let changes = std::mem::take(&mut publication.changes);
        Ok(self.submit(permit, changes, move |state, _| publication.arrive(state)))
    }
}

impl State {
    /// Finds room for messages, gives them numbers and keeps their places; takes them only if there is room for all.
    pub(super) fn prepare(
        &mut self,
        messages: &mut Vec<(Box<str>, Message)>,
        mut publication: Publication,
    ) -> Result<Publication, PublishError> {
        self.check()?;
        let routes = self.route(messages)?;
        for ((queue, message), route) in messages.drain(..).zip(routes) {
            publication.place(&queue, message, &route, self);
        }
        Ok(publication)
    }

    /// Which groups get each message, and whether all of it fits; changes nothing.
    fn route(&self, messages: &[(Box<str>, Message)]) -> Result<Vec<Vec<GroupId>>, PublishError> {
        // Sums for each group, since the messages of one call come together.
        let mut wanted: HashMap<GroupId, (u64, u64)> = HashMap::new();
        let mut routes = Vec::with_capacity(messages.len());
        for (name, message) in messages {
            let queue =
                self.queues.get(name).ok_or_else(|| PublishError::NoQueue { queue: name.to_string() })?;
            check(name, message, &queue.config)?;
            let takes = |id: &&GroupId| {
                self.groups.get(id).is_some_and(|group| group.pattern.matches(message.topic.as_ref()))
            };
            let route: Vec<GroupId> = queue.groups.iter().filter(takes).copied().collect();
            if route.is_empty() {
                let topic = message.topic.as_ref().map_or("(none)", |topic| topic.as_str()).to_owned();
                return Err(PublishError::Unrouted { queue: name.to_string(), topic });
            }
            let duplicate = message.dedup_id.as_ref().is_some_and(|id| queue.dedup.find(id).is_some());
            for id in if duplicate { &[][..] } else { &route[..] } {
                let (items, bytes) = wanted.entry(*id).or_default();
                *items += 1;
                *bytes += message.bytes() as u64;
            }
            routes.push(route);
        }
        for (id, (items, bytes)) in wanted {
            let Some(group) = self.groups.get(&id) else { continue };
            let (queue, config) = (group.group.queue.to_string(), &group.config);
            if items > config.items_max || bytes > config.bytes_max {
                return Err(PublishError::TooLarge { queue, bytes, bytes_max: config.bytes_max });
            }
            if group.items() + items > config.items_max || group.bytes() + bytes > config.bytes_max {
                return Err(PublishError::Full {
                    queue,
                    items: group.items(),
                    items_max: config.items_max,
                    bytes: group.bytes(),
                    bytes_max: config.bytes_max,
                });
            }
        }
        Ok(routes)
    }
}

/// Whether a queue takes this message at all.
fn check(queue: &str, message: &Message, config: &Config) -> Result<(), PublishError> {
    let bytes = message.bytes();
    if bytes > config.message_bytes_max {
        let (bytes, bytes_max) = (bytes as u64, config.message_bytes_max as u64);
        return Err(PublishError::TooLarge { queue: queue.to_owned(), bytes, bytes_max });
    }
    ConfigError::check("delay", message.delay, Duration::ZERO, Message::DELAY_MAX)?;
    ConfigError::check("headers", message.headers.len(), 0, Message::HEADERS_MAX)?;
    let text = |field, text: &str| ConfigError::check(field, text.len(), 0, Message::TEXT_BYTES_MAX);
    text("bytes of the key", message.key.as_deref().unwrap_or(""))?;
    text("bytes of the tenant", message.tenant.as_deref().unwrap_or(""))?;
    text("bytes of the dedup id", message.dedup_id.as_deref().unwrap_or(""))?;
    for (name, value) in &message.headers {
        text("bytes of the name of a header", name)?;
        text("bytes of the value of a header", value)?;
    }
    Ok(())
}
