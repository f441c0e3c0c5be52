use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::contract::{Dead, DeadCause, Reserve};
use crate::error::{Broken, ReserveError};
use crate::index::{Entry, Tick};
use crate::log::{Body, GroupId, ReadError};
use crate::message::{Delivered, Message, MessageId, Token};
use crate::topic::Topic;

use super::Broker;

impl Broker {
    pub(super) async fn reserve_messages(
        &self,
        request: Reserve<'_>,
    ) -> Result<Vec<Delivered>, ReserveError> {
        let until = self.shared.clock.now().after(request.within);
        let (group, work) = self.group_to_reserve(&request)?;
        // Whoever waits also looks at the time for the others; when it leaves, another one must.
        let mut waited = None;
        loop {
            let mut told = pin!(work.notified());
            // From here on no work goes unnoticed.
            told.as_mut().enable();
            self.sweep(group).await?;
            let (grants, alarm) = self.grant(group, &request)?;
            if !grants.is_empty() {
                let delivered = self.load(group, grants).await?;
                if !delivered.is_empty() {
                    return Ok(delivered);
                }
                continue;
            }
            let left = until.since(self.shared.clock.now());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            waited.get_or_insert_with(|| PassOn(&work));
            let sleep = alarm.map_or(left, |alarm| left.min(alarm.since(self.now())));
            tokio::select! {
                () = told => {}
                () = self.shared.clock.sleep(sleep) => {}
            }
        }
    }

    fn group_to_reserve(&self, request: &Reserve<'_>) -> Result<(GroupId, Arc<Notify>), ReserveError> {
        let state = self.lock();
        state.check()?;
        let found = state.find(request.queue, request.group);
        let group = found.and_then(|id| Some((id, Arc::clone(&state.groups.get(&id)?.work))));
        group.ok_or_else(|| ReserveError::NoGroup {
            queue: request.queue.to_owned(),
            group: request.group.to_owned(),
        })
    }

    /// Lets in what is due, and ends leases that ran out.
    pub(super) async fn sweep(&self, group: GroupId) -> Result<(), Broken> {
        let permit = self.permit().await?;
        let _order = self.order();
        let (now, wall) = (self.now(), self.wall());
        let mut changes = Vec::new();
        let after = {
            let mut state = self.lock();
            state.check()?;
            let Some(group) = state.groups.get_mut(&group) else { return Ok(()) };
            group.sweep(now, wall, &mut changes)
        };
        if !after.is_empty() {
            // Nobody waits for it: what is written here decides nothing that was promised.
            drop(self.submit(permit, changes, move |state, _| state.settle_all(group, after)));
        }
        Ok(())
    }

    /// Leases what goes next, and tells when something may go if nothing does now.
    fn grant(&self, group: GroupId, request: &Reserve<'_>) -> Result<(Grants<'_>, Option<Tick>), Broken> {
        let now = self.now();
        let mut state = self.lock();
        state.check()?;
        let mut grants = Grants { broker: self, group, lease: Duration::ZERO, held: Vec::new() };
        let mut bytes = 0_usize;
        while grants.held.len() < request.items_max {
            let lease_number = state.next_lease();
            let Some(found) = state.groups.get_mut(&group).filter(|found| !found.group.paused) else { break };
            let size = found.index.next_bytes(now).map_or(0, |bytes| bytes as usize);
            if !grants.held.is_empty() && bytes.saturating_add(size) > request.bytes_max {
                break;
            }
            grants.lease = request.lease.unwrap_or(found.config.lease).clamp(LEASE_MIN, LEASE_MAX);
            let Some((token, entry)) = found.index.grant(lease_number, now, now.after(grants.lease)) else {
                break;
            };
            bytes = bytes.saturating_add(size);
            let key = found.index.key(&entry).map(Into::into);
            let tenant = Some(found.index.tenant(&entry)).filter(|tenant| !tenant.is_empty()).map(Into::into);
            let exhausted = u32::from(entry.attempts) > found.config.attempts_max;
            grants.held.push(Grant { token, entry, key, tenant, exhausted });
        }
        let Some(found) = state.groups.get(&group) else { return Ok((grants, None)) };
        if found.index.has_next() && !found.group.paused {
            // One notice may stand for several messages.
            found.work.notify_one();
        }
        Ok((grants, found.index.next_due()))
    }

    /// Notes that the attempts begin, and reads what the workers need.
    async fn load(&self, group: GroupId, mut grants: Grants<'_>) -> Result<Vec<Delivered>, ReserveError> {
        // They were handed out for the last time when their process died, and it could not say so.
        for token in grants.exhausted() {
            self.bury(group, token, Dead::out_of_attempts(self.wall())).await?;
        }
        grants.held.retain(|grant| !grant.exhausted);
        let begun: Vec<(MessageId, u32)> =
            grants.held.iter().map(|grant| (grant.token.id, u32::from(grant.entry.attempts))).collect();
        self.log.begin(&begun).inspect_err(|broken| self.lock().fail(broken.clone()))?;
        let queue = self.lock().groups.get(&group).map(|group| group.group.queue.clone()).unwrap_or_default();
        let mut bodies: Vec<Option<Result<Body, ReadError>>> =
            grants.held.iter().map(|grant| self.log.at_hand(grant.token.id).map(Ok)).collect();
        let missing: Vec<usize> = (0..bodies.len()).filter(|index| bodies[*index].is_none()).collect();
        if !missing.is_empty() {
            let ids: Vec<MessageId> = missing.iter().map(|index| grants.held[*index].token.id).collect();
            for (index, body) in missing.into_iter().zip(self.read(ids).await?) {
                bodies[index] = Some(body);
            }
        }
        let mut corrupt = Vec::new();
        let mut delivered = Vec::with_capacity(bodies.len());
        for (grant, body) in grants.held.iter().zip(bodies) {
            match body {
                Some(Ok(body)) => delivered.push(grant.deliver(body, &queue, grants.lease)),
                Some(Err(ReadError::Broken(broken))) => return Err(broken.into()),
                Some(Err(ReadError::Corrupt(reason))) => corrupt.push((grant.token, reason)),
                None => {}
            }
        }
        for (token, reason) in corrupt {
            let dead = Dead { at: self.wall(), cause: DeadCause::Corrupt, reason: reason.into() };
            self.bury(group, token, dead).await?;
        }
        grants.held.clear();
        Ok(delivered)
    }

    /// Reads bodies where it may wait for a disk.
    pub(super) async fn read(&self, ids: Vec<MessageId>) -> Result<Vec<Result<Body, ReadError>>, Broken> {
        let log = Arc::clone(&self.log);
        let read = move || ids.into_iter().map(|id| log.read(id)).collect();
        let failed =
            |error: tokio::task::JoinError| Broken::Write { what: "a read", cause: error.to_string() };
        tokio::task::spawn_blocking(read).await.map_err(failed)
    }

    /// Sets a message aside that was leased and given to nobody, and waits until that is written.
    async fn bury(&self, group: GroupId, token: Token, dead: Dead) -> Result<(), Broken> {
        let permit = self.permit().await?;
        let pending = {
            let _order = self.order();
            let (now, wall) = (self.now(), self.wall());
            let mut changes = Vec::new();
            let after = {
                let mut state = self.lock();
                state.check()?;
                let Some(found) = state.groups.get_mut(&group) else { return Ok(()) };
                let Some(mut leased) = found.index.end(token, now) else { return Ok(()) };
                // That attempt never began.
                leased.entry.attempts = leased.entry.attempts.saturating_sub(1);
                found.bury(leased, dead, now, wall, &mut changes)
            };
            self.submit(permit, changes, move |state, _| state.settle_all(group, vec![after]))
        };
        pending.done().await
    }
}

/// The shortest lease, as for a queue.
pub(super) const LEASE_MIN: Duration = Duration::from_millis(1);
/// The longest lease: a week, as for a queue.
pub(super) const LEASE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Messages that are leased and not yet with their worker. They go back when it gives up before.
struct Grants<'a> {
    broker: &'a Broker,
    group: GroupId,
    lease: Duration,
    held: Vec<Grant>,
}

struct Grant {
    token: Token,
    entry: Entry,
    key: Option<Box<str>>,
    tenant: Option<Box<str>>,
    /// Whether it has had all its attempts before.
    exhausted: bool,
}

impl Grants<'_> {
    fn exhausted(&self) -> Vec<Token> {
        self.held.iter().filter(|grant| grant.exhausted).map(|grant| grant.token).collect()
    }

    fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Drop for Grants<'_> {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut given_back = Vec::with_capacity(self.held.len());
        let mut state = self.broker.lock();
        let Some(group) = state.groups.get_mut(&self.group) else { return };
        for grant in &self.held {
            if let Some(entry) = group.index.release(grant.token) {
                given_back.push((entry.id, u32::from(entry.attempts)));
                group.work.notify_one();
            }
        }
        drop(state);
        // Where this fails the log is broken, and the next call says so.
        let _ = self.broker.log.begin(&given_back);
    }
}

impl Grant {
    fn deliver(&self, body: Body, queue: &str, lease: Duration) -> Delivered {
        // It was a topic when it was published.
        let topic = body.topic.and_then(|topic| Topic::new(topic).ok());
        let message = Message {
            body: body.body,
            topic,
            priority: self.entry.priority,
            delay: Duration::ZERO,
            key: self.key.clone(),
            tenant: self.tenant.clone(),
            dedup_id: None,
            headers: body.headers,
        };
        Delivered {
            token: self.token,
            message,
            queue: queue.into(),
            attempt: u32::from(self.entry.attempts),
            after_crash: self.entry.after_crash,
            published: self.entry.published,
            lease,
        }
    }
}

/// Wakes another one who waits when this one leaves.
struct PassOn<'a>(&'a Notify);

impl Drop for PassOn<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
