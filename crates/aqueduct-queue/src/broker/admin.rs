use std::collections::{BinaryHeap, HashSet};

use crate::contract::{Depth, Pause, Peeked, State as MessageState, TenantShare};
use crate::error::AdminError;
use crate::index::{Entry, Leased, Tick};
use crate::log::{Body, Change, GroupId, Head};
use crate::message::{Message, MessageId};
use crate::topic::Topic;

use super::Broker;
use super::state::{After, Buried, GroupState, State};

/// The most changes of one write, where what is done need not be all or nothing.
const CHANGES_MAX: usize = 4096;
/// The most messages that are looked at in one call.
const PEEK_MAX: usize = 1000;

impl Broker {
    fn group_id(&self, queue: &str, group: &str) -> Result<GroupId, AdminError> {
        Ok(self.lock().group(queue, group)?.group.id)
    }

    pub(super) async fn count(&self, queue: &str, group: &str) -> Result<Depth, AdminError> {
        self.sweep(self.group_id(queue, group)?).await?;
        let now = self.now();
        let mut state = self.lock();
        let group = state.group(queue, group)?;
        Ok(Depth {
            ready: group.index.ready(),
            delayed: group.index.delayed(),
            leased: group.index.leased(),
            dead: group.dead.len() as u64,
            bytes: group.index.bytes(),
            dead_bytes: group.dead_bytes,
            dead_dropped: group.dead_dropped,
            oldest_wait: group.index.oldest().map(|since| now.since(since)).unwrap_or_default(),
            paused: group.group.paused,
        })
    }

    pub(super) fn shares(
        &self,
        queue: &str,
        group: &str,
        limit: usize,
    ) -> Result<Vec<TenantShare>, AdminError> {
        let now = self.now();
        let mut shares = self.lock().group(queue, group)?.index.tenants(now);
        shares.sort_by(|one, other| {
            let work = |share: &TenantShare| share.ready + share.leased;
            other.time_ratio.total_cmp(&one.time_ratio).then_with(|| work(other).cmp(&work(one)))
        });
        shares.truncate(limit);
        Ok(shares)
    }

    pub(super) async fn look(
        &self,
        queue: &str,
        group: &str,
        state: MessageState,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<Peeked>, AdminError> {
        let limit = limit.min(PEEK_MAX);
        self.sweep(self.group_id(queue, group)?).await?;
        let found: Vec<(Head, Option<Buried>)> = {
            let mut all = self.lock();
            let group = all.group(queue, group)?;
            if state == MessageState::Dead {
                let behind = group
                    .dead
                    .range(after.map_or(MessageId(0), |after| MessageId(after.0.saturating_add(1)))..);
                behind.take(limit).map(|(_, buried)| (buried.head.clone(), Some(buried.clone()))).collect()
            } else {
                group
                    .first(state, after, limit)
                    .into_iter()
                    .map(|entry| (group.head(&entry, None), None))
                    .collect()
            }
        };
        let bodies = self.read(found.iter().map(|(head, _)| head.id).collect()).await?;
        let peeked = found.into_iter().zip(bodies).map(|((head, buried), body)| Peeked {
            id: head.id,
            priority: head.priority,
            attempts: head.attempts,
            published: head.published,
            message: body.map(|body| message(&head, body)).map_err(|error| error.to_string()),
            dead: buried.map(|buried| buried.dead),
        });
        Ok(peeked.collect())
    }

    pub(super) async fn remove_all(
        &self,
        queue: &str,
        group: &str,
        states: &[MessageState],
    ) -> Result<u64, AdminError> {
        let id = self.group_id(queue, group)?;
        self.sweep(id).await?;
        let mut gone = Vec::new();
        {
            let mut all = self.lock();
            let group = all.group(queue, group)?;
            for state in states {
                match state {
                    MessageState::Ready => gone.extend(group.index.purge_ready()),
                    MessageState::Delayed => gone.extend(group.index.purge_delayed()),
                    MessageState::Dead => {
                        group.dead_bytes = 0;
                        gone.extend(std::mem::take(&mut group.dead).into_keys());
                    }
                    MessageState::Leased => {}
                }
            }
        }
        for ids in gone.chunks(CHANGES_MAX) {
            let permit = self.permit().await?;
            let changes = ids.iter().copied().map(Change::Remove).collect();
            self.submit(permit, changes, |_, _| ()).done().await?;
        }
        self.lock().tell_room(queue);
        Ok(gone.len() as u64)
    }

    pub(super) async fn remove_these(
        &self,
        queue: &str,
        group: &str,
        ids: &[MessageId],
    ) -> Result<u64, AdminError> {
        let permit = self.permit().await?;
        let pending = {
            let _order = self.order();
            let now = self.now();
            let (id, taken) = {
                let mut all = self.lock();
                let group = all.group(queue, group)?;
                (group.group.id, group.take_out(ids, now))
            };
            if taken.ids.is_empty() {
                return Ok(0);
            }
            let changes = taken.ids.iter().copied().map(Change::Remove).collect();
            self.submit(permit, changes, move |state, _| {
                state.settle_all(id, taken.leased.into_iter().map(After::Finish).collect());
                taken.ids.len() as u64
            })
        };
        Ok(pending.done().await?)
    }

    pub(super) async fn put_back(
        &self,
        queue: &str,
        group: &str,
        ids: &[MessageId],
    ) -> Result<u64, AdminError> {
        let mut put_back = 0;
        for ids in ids.chunks(CHANGES_MAX) {
            let permit = self.permit().await?;
            let pending = {
                let _order = self.order();
                let heads = self.lock().group(queue, group)?.exhume(ids);
                if heads.is_empty() {
                    continue;
                }
                let none: Vec<(MessageId, u32)> = heads.iter().map(|head| (head.id, 0)).collect();
                self.log.begin(&none).inspect_err(|broken| self.lock().fail(broken.clone()))?;
                let changes = heads
                    .iter()
                    .flat_map(|head| [Change::Unbury(head.id), Change::Update(head.clone())])
                    .collect();
                put_back += heads.len() as u64;
                let now = self.now();
                self.submit(permit, changes, move |state, _| state.put_back(&heads, now))
            };
            pending.done().await?;
        }
        Ok(put_back)
    }

    pub(super) async fn set_pause(&self, queue: &str, group: &str, pause: Pause) -> Result<(), AdminError> {
        let permit = self.permit().await?;
        let pending = {
            let _order = self.order();
            let mut changed = self.lock().group(queue, group)?.group.clone();
            changed.paused = pause == Pause::Paused;
            self.submit(permit, vec![Change::Group(changed.clone())], move |state, _| {
                if let Some(group) = state.groups.get_mut(&changed.id) {
                    group.group.paused = changed.paused;
                    group.work.notify_one();
                }
            })
        };
        Ok(pending.done().await?)
    }
}

impl State {
    fn put_back(&mut self, heads: &[Head], now: Tick) {
        for head in heads {
            if let Some(group) = self.groups.get_mut(&head.group) {
                group.keep_promise(head, now, None);
            }
        }
        if let Some(queue) = heads.first().and_then(|head| self.groups.get(&head.group)) {
            self.tell_pressure(&queue.group.queue.clone());
        }
    }
}

/// Messages that were taken out by their numbers.
struct Taken {
    ids: Vec<MessageId>,
    /// Those of them that workers had. They are gone when that is written.
    leased: Vec<Leased>,
}

impl GroupState {
    /// Takes out messages wherever they are. Linear in those that wait, unless all are leased or dead.
    fn take_out(&mut self, ids: &[MessageId], now: Tick) -> Taken {
        let mut taken = Taken { ids: Vec::with_capacity(ids.len()), leased: Vec::new() };
        let mut waiting = HashSet::new();
        for id in ids {
            if let Some(leased) = self.index.end_any(*id, now) {
                taken.leased.push(leased);
            } else if let Some(Buried { head, .. }) = self.dead.remove(id) {
                self.dead_bytes -= u64::from(head.bytes);
            } else {
                waiting.insert(*id);
                continue;
            }
            taken.ids.push(*id);
        }
        if !waiting.is_empty() {
            taken.ids.extend(self.index.discard(&waiting));
        }
        taken
    }

    /// Takes dead letters out, as many as there is room for, with no attempts.
    fn exhume(&mut self, ids: &[MessageId]) -> Vec<Head> {
        let mut heads = Vec::new();
        for id in ids {
            let room = self.items() < self.config.items_max && self.bytes() < self.config.bytes_max;
            if !room {
                break;
            }
            let Some(Buried { mut head, .. }) = self.dead.remove(id) else { continue };
            self.dead_bytes -= u64::from(head.bytes);
            head.attempts = 0;
            self.promise(head.bytes);
            heads.push(head);
        }
        heads
    }

    /// The first messages in a state behind another one, in the order of their numbers. Linear in those of the state.
    fn first(&self, state: MessageState, after: Option<MessageId>, limit: usize) -> Vec<Entry> {
        let entries: Box<dyn Iterator<Item = &Entry>> = match state {
            MessageState::Ready => Box::new(self.index.ready_entries()),
            MessageState::Delayed => Box::new(self.index.delayed_entries()),
            MessageState::Leased => Box::new(self.index.leased_entries()),
            MessageState::Dead => Box::new(std::iter::empty()),
        };
        let mut first: BinaryHeap<(MessageId, usize)> = BinaryHeap::with_capacity(limit + 1);
        let mut kept: Vec<Entry> = Vec::with_capacity(limit);
        for entry in entries.filter(|entry| after.is_none_or(|after| entry.id > after)) {
            if kept.len() < limit {
                first.push((entry.id, kept.len()));
                kept.push(*entry);
            } else if let Some(mut last) = first.peek_mut()
                && entry.id < last.0
            {
                let place = last.1;
                kept[place] = *entry;
                *last = (entry.id, place);
            }
        }
        kept.sort_by_key(|entry| entry.id);
        kept
    }
}

/// A message as it was published, but for its delay.
fn message(head: &Head, body: Body) -> Message {
    Message {
        body: body.body,
        topic: body.topic.and_then(|topic| Topic::new(topic).ok()),
        priority: head.priority,
        key: head.key.clone(),
        tenant: head.tenant.clone(),
        headers: body.headers,
        ..Message::default()
    }
}
