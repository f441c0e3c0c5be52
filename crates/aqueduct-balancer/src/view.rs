use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::Algorithm;
use crate::load::{Load, Moment, Tuning, nanos};
use crate::node::{Core, Node, Settings};
use crate::priority::{Portion, Standing, portions};
use crate::strategy::{self, Ask, Candidates, Seat, Strategy, counts_all, places_keys};

/// Who may be chosen, as it was found at one moment. It is never changed: another one takes its place.
pub(crate) struct View<E> {
    algorithm: Algorithm,
    tiers: Vec<Tier<E>>,
    /// Until when it is right if nothing happens, in nanoseconds.
    pub(crate) until: u64,
    /// When the next endpoint comes back by itself that may not be chosen, in nanoseconds.
    pub(crate) back_at: Option<u64>,
    /// Whether leases are counted in all.
    pub(crate) counts_all: bool,
}

/// The endpoints of one priority.
struct Tier<E> {
    priority: u8,
    portion: Portion,
    nodes: Vec<Arc<Node<E>>>,
    /// Who of them may be chosen; empty where all may.
    open: Vec<bool>,
    /// What the strategy was made from, to know when another one is needed.
    seats: Vec<Seat>,
    strategy: Arc<dyn Strategy>,
    core: Arc<Core>,
    tuning: Tuning,
}

impl<E> View<E> {
    pub(crate) fn empty(algorithm: Algorithm) -> Self {
        Self { algorithm, tiers: Vec::new(), until: 0, back_at: None, counts_all: false }
    }

    /// Looks at the members. What has not changed since `before` is taken over from it.
    pub(crate) fn of(
        members: &[Arc<Node<E>>],
        core: &Arc<Core>,
        settings: &Settings,
        turn: &Arc<AtomicUsize>,
        now: Moment,
        before: &Self,
    ) -> Self {
        let config = &settings.config;
        let mut by_priority: BTreeMap<u8, Vec<&Arc<Node<E>>>> = BTreeMap::new();
        for node in members.iter().filter(|node| !node.is_draining()) {
            by_priority.entry(node.endpoint.priority()).or_default().push(node);
        }
        let standings: Vec<_> = by_priority
            .values()
            .map(|nodes| Standing {
                well: nodes.iter().filter(|node| node.is_well(now)).count(),
                all: nodes.len(),
            })
            .collect();
        let portions = portions(&standings, config.overprovisioning, config.panic_below);

        // When the first that rests is back, and when a slow start takes its next step.
        let (mut rested_at, mut until) = (u64::MAX, u64::MAX);
        let places = places_keys(config.algorithm);
        let mut tiers = Vec::with_capacity(by_priority.len());
        for ((priority, all), portion) in by_priority.into_iter().zip(portions) {
            let may = |node: &Node<E>| if portion.panic { !node.is_resting(now) } else { node.is_well(now) };
            for node in &all {
                let rests_until = node.load.resting_until.load(Ordering::Relaxed);
                if rests_until > now.nanos {
                    rested_at = rested_at.min(rests_until);
                }
            }
            let nodes: Vec<_> = all.into_iter().filter(|node| places || may(node)).map(Arc::clone).collect();
            let open = if places { nodes.iter().map(|node| may(node)).collect() } else { Vec::new() };
            let seats: Vec<_> = nodes
                .iter()
                .map(|node| {
                    let age = now.nanos.saturating_sub(node.load.started_at.load(Ordering::Relaxed));
                    let share = match config.slow_start.filter(|_| !places) {
                        Some(slow) if age < nanos(slow.window) => {
                            until = until.min(now.nanos.saturating_add(nanos(slow.step())));
                            slow.share(Duration::from_nanos(age))
                        }
                        _ => 1.0,
                    };
                    let name = Arc::clone(node.endpoint.shared_name());
                    Seat { name, weight: f64::from(node.endpoint.weight()) * share }
                })
                .collect();
            let old = before.tiers.iter().find(|tier| tier.priority == priority && tier.seats == seats);
            let strategy = match old.filter(|_| before.algorithm == config.algorithm) {
                Some(old) => Arc::clone(&old.strategy),
                None => strategy::prepare(config.algorithm, &seats, turn),
            };
            let (core, tuning) = (Arc::clone(core), settings.tuning);
            tiers.push(Tier { priority, portion, nodes, open, seats, strategy, core, tuning });
        }
        let back_at = core.detector().returns_at().map(|at| Moment::of(at).nanos);
        let back_at = back_at.into_iter().chain((rested_at != u64::MAX).then_some(rested_at)).min();
        let until = until.min(rested_at);
        let algorithm = config.algorithm;
        Self { algorithm, tiers, until, back_at, counts_all: counts_all(algorithm) }
    }

    /// Chooses a tier by chance, or by the key, and lets its strategy choose.
    pub(crate) fn choose(&self, ask: &mut Ask<'_>) -> Option<&Arc<Node<E>>> {
        if let [only] = self.tiers.as_slice() {
            return only.choose(ask);
        }
        let mut hundredth = match ask.key {
            // The same key, the same priority, for as long as the portions stay.
            Some(key) => crate::hash::hash(key) % 100,
            None => ask.random.below(100),
        };
        let mut rest = self.tiers.iter();
        let chosen = rest.find(|tier| {
            let portion = u64::from(tier.portion.hundredths);
            let mine = hundredth < portion;
            hundredth = hundredth.saturating_sub(portion);
            mine
        });
        // All of a tier that panics may be resting.
        chosen
            .and_then(|tier| tier.choose(ask))
            .or_else(|| self.tiers.iter().find_map(|tier| tier.choose(ask)))
    }

    /// Everybody who may be chosen.
    #[cfg(feature = "tower")]
    pub(crate) fn open(&self) -> impl Iterator<Item = &Arc<Node<E>>> + '_ {
        self.tiers.iter().filter(|tier| tier.portion.hundredths > 0).flat_map(|tier| {
            let open = tier.nodes.iter().enumerate().filter(|(index, _)| tier.is_open(*index));
            open.map(|(_, node)| node)
        })
    }

    /// The priorities in panic.
    pub(crate) fn panics(&self) -> impl Iterator<Item = u8> + '_ {
        self.tiers.iter().filter(|tier| tier.portion.panic).map(|tier| tier.priority)
    }
}

impl<E> Tier<E> {
    fn choose(&self, ask: &mut Ask<'_>) -> Option<&Arc<Node<E>>> {
        if self.portion.hundredths == 0 {
            return None;
        }
        self.nodes.get(self.strategy.choose(self, ask)?)
    }
}

impl<E> Candidates for Tier<E> {
    fn count(&self) -> usize {
        self.nodes.len()
    }

    fn load(&self, index: usize) -> &Load {
        &self.nodes[index].load
    }

    fn is_open(&self, index: usize) -> bool {
        self.open.get(index).is_none_or(|open| *open)
    }

    fn in_flight(&self) -> usize {
        self.core.leased.load(Ordering::Relaxed)
    }

    fn tuning(&self) -> &Tuning {
        &self.tuning
    }
}
