use std::time::Duration;

use aqueduct_core::{ConfigError, Timestamp};

use crate::contract::{Dead, DeadCause};
use crate::error::{Broken, SettleError};
use crate::index::Tick;
use crate::log::{Change, GroupId};
use crate::message::{Message, MessageId, Receipt, Settlement, Token};

use super::Broker;
use super::publish::Publication;
use super::reserve::{LEASE_MAX, LEASE_MIN};
use super::state::{After, GroupState, State, later};

/// What settlements become: what is written, and what is done once it is.
#[derive(Default)]
struct Settled {
    changes: Vec<Change>,
    after: Vec<After>,
    /// Messages that were given back, with the attempts that they have had.
    released: Vec<(MessageId, u32)>,
}

impl Broker {
    pub(super) async fn settle_each(
        &self,
        queue: &str,
        group: &str,
        settlements: Vec<(Token, Settlement)>,
    ) -> Vec<Result<(), SettleError>> {
        let count = settlements.len();
        let all = |broken: Broken| (0..count).map(|_| Err(broken.clone().into())).collect();
        let permit = match self.permit().await {
            Ok(permit) => permit,
            Err(broken) => return all(broken),
        };
        let (pending, mut results) = {
            let _order = self.order();
            let (now, wall) = (self.now(), self.wall());
            let mut settled = Settled::default();
            let mut results = Vec::with_capacity(count);
            let id = {
                let mut state = self.lock();
                if let Err(broken) = state.check() {
                    drop(state);
                    return all(broken);
                }
                let id = state.find(queue, group);
                let Some(found) = id.and_then(|id| state.groups.get_mut(&id)) else {
                    // Nobody can have a lease of a group that is not there.
                    return settlements.iter().map(|(token, _)| Err(stale(*token))).collect();
                };
                for (token, settlement) in settlements {
                    let result = check(&settlement)
                        .map_err(SettleError::from)
                        .and_then(|()| found.settle_one(token, settlement, now, wall, &mut settled));
                    results.push(result);
                }
                found.group.id
            };
            if let Err(broken) = self.note_released(&settled) {
                return all(broken);
            }
            if settled.changes.is_empty() {
                return results;
            }
            let after = settled.after;
            (self.submit(permit, settled.changes, move |state, _| state.settle_all(id, after)), results)
        };
        if let Err(broken) = pending.done().await {
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(broken.clone().into());
            }
        }
        results
    }

    pub(super) async fn settle_and_publish(
        &self,
        queue: &str,
        group: &str,
        settlements: Vec<(Token, Settlement)>,
        mut messages: Vec<(Box<str>, Message)>,
    ) -> Result<Vec<Receipt>, SettleError> {
        let permit = self.permit().await?;
        let pending = {
            let _order = self.order();
            let (now, wall) = (self.now(), self.wall());
            let mut settled = Settled::default();
            let (id, mut publication) = {
                let mut state = self.lock();
                state.check()?;
                let id = check_all(&state, queue, group, &settlements)?;
                let publication = Publication::new(now, wall, self.capabilities.durability);
                let publication = state.prepare(&mut messages, publication)?;
                // Nothing can fail from here on.
                if let Some(found) = id.and_then(|id| state.groups.get_mut(&id)) {
                    for (token, settlement) in settlements {
                        found.settle_one(token, settlement, now, wall, &mut settled)?;
                    }
                }
                (id, publication)
            };
            self.note_released(&settled)?;
            let mut changes = std::mem::take(&mut publication.changes);
            changes.append(&mut settled.changes);
            self.submit(permit, changes, move |state, _| {
                if let Some(id) = id {
                    state.settle_all(id, settled.after);
                }
                publication.arrive(state)
            })
        };
        Ok(pending.done().await?)
    }

    pub(super) fn extend_lease(
        &self,
        queue: &str,
        group: &str,
        token: Token,
        lease: Duration,
    ) -> Result<(), SettleError> {
        ConfigError::check("lease", lease, LEASE_MIN, LEASE_MAX)?;
        let now = self.now();
        let mut state = self.lock();
        state.check()?;
        let id = state.find(queue, group);
        let found = id.and_then(|id| state.groups.get_mut(&id));
        if found.is_some_and(|found| found.index.extend(token, now.after(lease))) {
            return Ok(());
        }
        Err(stale(token))
    }

    /// A message that was given back has not had the attempt that was noted.
    fn note_released(&self, settled: &Settled) -> Result<(), Broken> {
        if settled.released.is_empty() {
            return Ok(());
        }
        self.log.begin(&settled.released).inspect_err(|broken| self.lock().fail(broken.clone()))
    }
}

impl State {
    /// Does what was left to do in a group, and tells publishers about the room.
    pub(super) fn settle_all(&mut self, id: GroupId, after: Vec<After>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        after.into_iter().for_each(|after| group.settle(after));
        let queue = group.group.queue.clone();
        self.tell_room(&queue);
    }
}

impl GroupState {
    fn settle_one(
        &mut self,
        token: Token,
        settlement: Settlement,
        now: Tick,
        wall: Timestamp,
        settled: &mut Settled,
    ) -> Result<(), SettleError> {
        if settlement == Settlement::Release {
            let entry = self.index.release(token).ok_or_else(|| stale(token))?;
            settled.released.push((entry.id, u32::from(entry.attempts)));
            self.work.notify_one();
            return Ok(());
        }
        let leased = self.index.end(token, now).ok_or_else(|| stale(token))?;
        let last = u32::from(leased.entry.attempts) >= self.config.attempts_max;
        let after = match settlement {
            Settlement::Ack => {
                settled.changes.push(Change::Remove(token.id));
                After::Finish(leased)
            }
            Settlement::Nack { reason, .. } if last => {
                let dead = Dead { at: wall, cause: DeadCause::Attempts, reason };
                self.bury(leased, dead, now, wall, &mut settled.changes)
            }
            Settlement::Nack { delay, .. } => {
                let delayed = !delay.is_zero();
                let head = self.head(&leased.entry, delayed.then(|| later(wall, delay)));
                settled.changes.push(Change::Update(head));
                After::GiveBack(leased, delayed.then(|| now.after(delay)))
            }
            Settlement::DeadLetter { reason } => {
                let dead = Dead { at: wall, cause: DeadCause::Refused, reason };
                self.bury(leased, dead, now, wall, &mut settled.changes)
            }
            Settlement::Release => return Ok(()),
        };
        settled.after.push(after);
        Ok(())
    }
}

/// Whether all of it can be done; changes nothing.
fn check_all(
    state: &State,
    queue: &str,
    group: &str,
    settlements: &[(Token, Settlement)],
) -> Result<Option<GroupId>, SettleError> {
    let id = state.find(queue, group);
    let found = id.and_then(|id| state.groups.get(&id));
    for (index, (token, settlement)) in settlements.iter().enumerate() {
        check(settlement)?;
        let twice = settlements[..index].iter().any(|(earlier, _)| earlier.id == token.id);
        if twice || !found.is_some_and(|found| found.index.holds(*token)) {
            return Err(stale(*token));
        }
    }
    Ok(id)
}

fn check(settlement: &Settlement) -> Result<(), ConfigError> {
    let reason_max = Message::TEXT_BYTES_MAX * 64;
    match settlement {
        Settlement::Nack { delay, reason } => {
            ConfigError::check("delay", *delay, Duration::ZERO, Message::DELAY_MAX)?;
            ConfigError::check("bytes of the reason", reason.len(), 0, reason_max)
        }
        Settlement::DeadLetter { reason } => {
            ConfigError::check("bytes of the reason", reason.len(), 0, reason_max)
        }
        Settlement::Ack | Settlement::Release => Ok(()),
    }
}

fn stale(token: Token) -> SettleError {
    SettleError::StaleLease { id: token.id, lease: token.lease }
}
