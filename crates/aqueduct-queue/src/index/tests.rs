//! The index against a model that does everything slowly and in one list.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use aqueduct_core::Timestamp;
use proptest::prelude::*;

use super::{Arrival, Index, Tick};
use crate::config::{Config, Fairness};
use crate::message::{MessageId, Priority, Token};

#[derive(Clone, Debug)]
enum Step {
    Insert { priority: u8, key: Option<u8>, tenant: u8, delay: u64 },
    Grant { lease: u64 },
    Finish { which: usize },
    GiveBack { which: usize, delay: u64 },
    Release { which: usize },
    Extend { which: usize, lease: u64 },
    Pass { millis: u64 },
    PurgeReady,
    PurgeDelayed,
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![3 => Just(0_u64), 1 => 1_u64..200];
    prop_oneof![
        6 => (0_u8..4, prop::option::weighted(0.4, 0_u8..3), 0_u8..3, delay.clone())
            .prop_map(|(priority, key, tenant, delay)| Step::Insert { priority, key, tenant, delay }),
        6 => (1_u64..200).prop_map(|lease| Step::Grant { lease }),
        3 => any::<usize>().prop_map(|which| Step::Finish { which }),
        2 => (any::<usize>(), delay).prop_map(|(which, delay)| Step::GiveBack { which, delay }),
        1 => any::<usize>().prop_map(|which| Step::Release { which }),
        1 => (any::<usize>(), 1_u64..200).prop_map(|(which, lease)| Step::Extend { which, lease }),
        4 => (0_u64..100).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::PurgeReady),
        1 => Just(Step::PurgeDelayed),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Ready,
    Delayed(Tick),
    Leased(u64, Tick),
}

#[derive(Clone, Debug)]
struct Known {
    id: u64,
    priority: u8,
    key: Option<u8>,
    since: Tick,
    place: Place,
    attempts: u16,
    /// Whether it was the turn of this message in its key, and the key has not gone on.
    holds: bool,
}

/// Every message in one list.
#[derive(Debug, Default)]
struct Model {
    known: Vec<Known>,
}

impl Model {
    /// Gives every free key to the first ready message of it.
    fn hand_on_keys(&mut self) {
        for key in 0..3 {
            let of_key = |known: &&mut Known| known.key == Some(key);
            if self.known.iter_mut().filter(of_key).any(|known| known.holds) {
                continue;
            }
            let ready = self.known.iter_mut().filter(of_key).filter(|known| known.place == Place::Ready);
            if let Some(first) = ready.min_by_key(|known| known.id) {
                first.holds = true;
            }
        }
    }

    fn pass(&mut self, now: Tick) {
        // Those that are due first line up first: it matters for keys.
        let mut due: Vec<(Tick, u64)> = self
            .known
            .iter()
            .filter_map(|known| match known.place {
                Place::Delayed(due) if due <= now => Some((due, known.id)),
                _ => None,
            })
            .collect();
        due.sort();
        for (_, id) in due {
            self.get(id).place = Place::Ready;
            self.hand_on_keys();
        }
    }

    fn get(&mut self, id: u64) -> &mut Known {
        self.known.iter_mut().find(|known| known.id == id).unwrap()
    }

    fn remove(&mut self, id: u64) {
        self.known.retain(|known| known.id != id);
        self.hand_on_keys();
    }

    /// What may be handed out, the first first.
    fn order(&self, ageing: Option<Duration>) -> Vec<u64> {
        let goes = |known: &&Known| known.place == Place::Ready && (known.key.is_none() || known.holds);
        let mut lines: HashMap<u8, Vec<&Known>> = HashMap::new();
        for known in self.known.iter().filter(goes) {
            lines.entry(known.priority).or_default().push(known);
        }
        lines.values_mut().for_each(|line| line.sort_by_key(|known| std::cmp::Reverse(known.id)));
        let mut order = Vec::new();
        loop {
            let fronts = lines.values().filter_map(|line| line.last().copied());
            let next = match ageing {
                None => fronts.max_by_key(|known| known.priority),
                Some(ageing) => fronts.min_by_key(|known| {
                    let below = 3 - known.priority;
                    (known.since.after(ageing * u32::from(below)), below)
                }),
            };
            let Some(next) = next else { return order };
            order.push(next.id);
            lines.get_mut(&next.priority).unwrap().pop();
        }
    }
}

fn check(steps: Vec<Step>, ageing: Option<Duration>, fairness: Fairness) {
    let config = Config::builder().ageing(ageing).fairness(fairness).build().unwrap();
    let mut index = Index::new(&config);
    let mut model = Model::default();
    let mut now = Tick(0);
    let (mut next_id, mut next_lease) = (1, 0);
    let mut leases: Vec<Token> = Vec::new();
    for step in steps {
        match step {
            Step::Insert { priority, key, tenant, delay } => {
                let due = (delay > 0).then(|| now.after(Duration::from_millis(delay)));
                let key_name = key.map(|key| key.to_string());
                let tenant = tenant.to_string();
                index.insert(&Arrival {
                    id: MessageId(next_id),
                    priority: Priority::ALL[usize::from(priority)],
                    attempts: 0,
                    after_crash: false,
                    published: Timestamp(0),
                    bytes: 10,
                    key: key_name.as_deref(),
                    tenant: Some(&tenant),
                    since: now,
                    due,
                });
                let place = due.map_or(Place::Ready, Place::Delayed);
                let since = due.unwrap_or(now);
                model.known.push(Known {
                    id: next_id,
                    priority,
                    key,
                    since,
                    place,
                    attempts: 0,
                    holds: false,
                });
                model.hand_on_keys();
                next_id += 1;
            }
            Step::Grant { lease } => {
                next_lease += 1;
                let until = now.after(Duration::from_millis(lease));
                let granted = index.grant(next_lease, now, until);
                let order = model.order(ageing);
                if fairness == Fairness::Off {
                    assert_eq!(granted.map(|(token, _)| token.id.0), order.first().copied());
                }
                // Whichever tenant it is, it may go.
                assert_eq!(granted.is_some(), !order.is_empty());
                let Some((token, entry)) = granted else { continue };
                assert!(order.contains(&token.id.0));
                leases.push(token);
                let known = model.get(token.id.0);
                known.attempts += 1;
                known.place = Place::Leased(token.lease, until);
                assert_eq!(entry.attempts, known.attempts);
            }
            Step::Finish { which } if !leases.is_empty() => {
                let token = leases.swap_remove(which % leases.len());
                let ended = index.end(token, now);
                assert_eq!(ended.is_some(), holds(&model, token));
                if let Some(ended) = ended {
                    index.finish(ended);
                    model.remove(token.id.0);
                }
            }
            Step::GiveBack { which, delay } if !leases.is_empty() => {
                let token = leases.swap_remove(which % leases.len());
                let ended = index.end(token, now);
                assert_eq!(ended.is_some(), holds(&model, token));
                let Some(ended) = ended else { continue };
                let due = (delay > 0).then(|| now.after(Duration::from_millis(delay)));
                index.give_back(ended, due);
                model.get(token.id.0).place = due.map_or(Place::Ready, Place::Delayed);
            }
            Step::Release { which } if !leases.is_empty() => {
                let token = leases.swap_remove(which % leases.len());
                assert_eq!(index.release(token).is_some(), holds(&model, token));
                if holds(&model, token) {
                    let known = model.get(token.id.0);
                    known.attempts -= 1;
                    known.place = Place::Ready;
                }
            }
            Step::Extend { which, lease } if !leases.is_empty() => {
                let token = leases[which % leases.len()];
                let until = now.after(Duration::from_millis(lease));
                assert_eq!(index.extend(token, until), holds(&model, token));
                if holds(&model, token) {
                    model.get(token.id.0).place = Place::Leased(token.lease, until);
                }
            }
            Step::Pass { millis } => {
                now = now.after(Duration::from_millis(millis));
                let expired = index.advance(now);
                model.pass(now);
                let ids: HashSet<u64> = expired.iter().map(|leased| leased.entry.id.0).collect();
                let out = |known: &&Known| matches!(known.place, Place::Leased(_, until) if until <= now);
                let wanted: HashSet<u64> = model.known.iter().filter(out).map(|known| known.id).collect();
                assert_eq!(ids, wanted);
                for leased in expired {
                    model.get(leased.entry.id.0).place = Place::Ready;
                    index.give_back(leased, None);
                }
            }
            Step::PurgeReady => {
                let gone: HashSet<u64> = index.purge_ready().into_iter().map(|id| id.0).collect();
                let ready = |known: &&Known| known.place == Place::Ready;
                let wanted: HashSet<u64> = model.known.iter().filter(ready).map(|known| known.id).collect();
                assert_eq!(gone, wanted);
                model.known.retain(|known| known.place != Place::Ready);
            }
            Step::PurgeDelayed => {
                let gone: HashSet<u64> = index.purge_delayed().into_iter().map(|id| id.0).collect();
                let delayed = |known: &&Known| matches!(known.place, Place::Delayed(_));
                let wanted: HashSet<u64> = model.known.iter().filter(delayed).map(|known| known.id).collect();
                assert_eq!(gone, wanted);
                wanted.into_iter().for_each(|id| model.remove(id));
            }
            _ => {}
        }
        let count =
            |wanted: fn(Place) -> bool| model.known.iter().filter(|known| wanted(known.place)).count() as u64;
        assert_eq!(index.ready(), count(|place| place == Place::Ready));
        assert_eq!(index.delayed(), count(|place| matches!(place, Place::Delayed(_))));
        assert_eq!(index.leased(), count(|place| matches!(place, Place::Leased(..))));
        assert_eq!(index.bytes(), model.known.len() as u64 * 10);
        assert_eq!(index.ready_entries().count() as u64, index.ready());
    }
}

fn holds(model: &Model, token: Token) -> bool {
    let known = model.known.iter().find(|known| known.id == token.id.0);
    known.is_some_and(|known| matches!(known.place, Place::Leased(lease, _) if lease == token.lease))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_line_is_in_the_order_of_the_model(
        steps in prop::collection::vec(step(), 1..200),
        ageing in prop::option::of(1_u64..100),
    ) {
        check(steps, ageing.map(Duration::from_millis), Fairness::Off);
    }

    #[test]
    fn tenants_hand_out_what_the_model_may(steps in prop::collection::vec(step(), 1..200)) {
        check(steps, Some(Duration::from_millis(50)), Fairness::ByTenant);
    }
}

#[test]
fn what_is_known_of_a_message_has_forty_bytes() {
    assert_eq!(std::mem::size_of::<super::Entry>(), 40);
}

#[test]
fn no_message_is_passed_by_what_came_three_ageings_later() {
    // A soak of an hour at full load: whatever arrives, the low ones go within their bound.
    let ageing = Duration::from_secs(60);
    let config = Config::builder().ageing(Some(ageing)).build().unwrap();
    let mut index = Index::new(&config);
    let mut random = aqueduct_core::Random::seeded(7);
    let mut longest = Duration::ZERO;
    let mut newest_served: Vec<Tick> = Vec::new();
    let second = Duration::from_secs(1);
    let (mut now, mut id) = (Tick(0), 0);
    for _ in 0..3600 {
        now = now.after(second);
        // As much comes as is worked off, and nine tenths of it are critical.
        for _ in 0..10 {
            id += 1;
            let priority = if random.below(10) == 0 { Priority::Low } else { Priority::Critical };
            let (attempts, published, since) = (0, Timestamp(0), now);
            let arrival = Arrival {
                id: MessageId(id),
                priority,
                attempts,
                after_crash: false,
                published,
                bytes: 1,
                key: None,
                tenant: None,
                since,
                due: None,
            };
            index.insert(&arrival);
        }
        for _ in 0..10 {
            let Some((token, entry)) = index.grant(id, now, now.after(second)) else { break };
            let latest = newest_served.iter().copied().max().unwrap_or_default();
            assert!(latest.since(entry.since) <= ageing * 3, "{entry:?} was passed by one from {latest:?}");
            newest_served = vec![latest.max(entry.since)];
            longest = longest.max(now.since(entry.since));
            let leased = index.end(token, now).unwrap();
            index.finish(leased);
        }
    }
    assert!(longest <= ageing * 3 + second, "{longest:?}");
}
