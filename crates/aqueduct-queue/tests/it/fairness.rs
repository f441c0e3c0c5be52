//! How long quiet tenants wait beside one that has 100,000 messages waiting, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Random, Timestamp};
use aqueduct_queue::{Config, Delivery, Message, Queue, Queues};

const WORKERS: usize = 8;
const QUIET: u64 = 20;
/// What a message takes on average; times are exponential.
const WORK: Duration = Duration::from_millis(100);
/// What the quiet tenants ask of the workers together. Below six tenths hardly anybody waits alone, and no queue that does
/// not interrupt work could keep to twice of it: with every worker busy, strict priority for all quiet messages waits
/// 4.6 / (workers' rate - arrivals) at the 99th percentile.
const LOAD: f64 = 0.7;
const MESSAGES: usize = 10_000;
const BACKLOG: usize = 100_000;

struct World {
    queue: Queue,
    clock: Clock,
    time: ManualClock,
    random: Random,
}

impl World {
    async fn new() -> Self {
        let (clock, time) = Clock::manual(Timestamp(0));
        let config =
            Config::builder().items_max(1_000_000).lease(Duration::from_secs(86_400)).build().unwrap();
        let queue = Queues::memory_with(clock.clone()).declare("work", config).await.unwrap();
        Self { queue, clock, time, random: Random::seeded(11) }
    }

    async fn fill(&self, tenant: &str, count: usize) {
        let messages = (0..count).map(|_| Message::new("x").with_tenant(tenant)).collect();
        self.queue.publish_all(messages, Duration::ZERO).await.unwrap();
    }

    fn exponential(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.random.unit()).ln())
    }

    fn now(&self) -> Duration {
        self.clock.now().elapsed_since_start()
    }
}

/// The waits of all messages of quiet tenants, the shortest first.
async fn quiet_waits(backlog: usize) -> Vec<Duration> {
    let mut world = World::new().await;
    world.fill("noisy", backlog).await;
    let between = WORK.div_f64(WORKERS as f64 * LOAD);
    let mut busy: BinaryHeap<Reverse<(Duration, usize)>> = BinaryHeap::new();
    let mut held: HashMap<usize, Delivery> = HashMap::new();
    let mut idle: Vec<usize> = (0..WORKERS).collect();
    let mut next_arrival = world.exponential(between);
    let (mut arrived, mut waits) = (0, Vec::new());
    // The published moments of quiet messages, by their number.
    let mut published = HashMap::new();
    while waits.len() < MESSAGES {
        while let Some(worker) = idle.pop() {
            let Some(delivery) = world.queue.try_reserve().await.unwrap() else {
                idle.push(worker);
                break;
            };
            if let Some(at) = published.remove(&delivery.token.id) {
                waits.push(world.now() - at);
            }
            busy.push(Reverse((world.now() + world.exponential(WORK), worker)));
            held.insert(worker, delivery);
        }
        let next_end = busy.peek().map(|Reverse((end, _))| *end);
        let ends_first = next_end.is_some_and(|end| end <= next_arrival || arrived == MESSAGES);
        let next = if ends_first { next_end.unwrap() } else { next_arrival };
        world.time.advance(next - world.now());
        if ends_first {
            let Reverse((_, worker)) = busy.pop().unwrap();
            held.remove(&worker).unwrap().ack().await.unwrap();
            idle.push(worker);
        } else {
            let tenant = format!("quiet {}", world.random.below(QUIET));
            let receipt = world.queue.publish(Message::new("x").with_tenant(tenant)).await.unwrap();
            published.insert(receipt.id, world.now());
            arrived += 1;
            next_arrival = world.now() + world.exponential(between);
        }
    }
    waits.sort();
    waits
}

#[tokio::test]
async fn quiet_tenants_wait_at_most_twice_as_long_beside_a_backlog_of_100_000() {
    let alone = quiet_waits(0).await;
    let beside = quiet_waits(BACKLOG).await;
    let p99 = |waits: &[Duration]| waits[waits.len() * 99 / 100];
    let ratio = p99(&beside).as_secs_f64() / p99(&alone).as_secs_f64();
    assert!(ratio <= 2.0, "{ratio:.2}: {:?} beside it, {:?} alone", p99(&beside), p99(&alone));
}

#[tokio::test]
async fn tenants_with_much_to_do_get_equal_time_in_every_ten_seconds() {
    let mut world = World::new().await;
    // Messages of the later ones take up to eight times as long.
    let mean = |tenant: usize| WORK.mul_f64(0.25 * f64::from(1 << (tenant % 4)));
    for tenant in 0..8 {
        world.fill(&tenant.to_string(), 5000).await;
    }
    let mut got = [0.0_f64; 8];
    let mut window = Duration::from_secs(10);
    let mut least: f64 = 1.0;
    let mut running: BinaryHeap<Reverse<(Duration, u64)>> = BinaryHeap::new();
    let mut held: HashMap<u64, (Delivery, usize, Duration)> = HashMap::new();
    for number in 0.. {
        while running.len() < WORKERS {
            let delivery = world.queue.try_reserve().await.unwrap().unwrap();
            let tenant: usize = delivery.message.tenant.as_deref().unwrap().parse().unwrap();
            let took = world.exponential(mean(tenant));
            let key = number * 100 + running.len() as u64;
            running.push(Reverse((world.now() + took, key)));
            held.insert(key, (delivery, tenant, took));
        }
        let Reverse((end, key)) = running.pop().unwrap();
        world.time.advance(end - world.now());
        let (delivery, tenant, took) = held.remove(&key).unwrap();
        got[tenant] += took.as_secs_f64();
        delivery.ack().await.unwrap();
        if end > window {
            // Jain, Chiu and Hawe 1984: 1 where all have the same, an eighth where one has all.
            let sum: f64 = got.iter().sum();
            let squares: f64 = got.iter().map(|time| time * time).sum();
            // The first window is where the costs are learnt.
            if window > Duration::from_secs(10) {
                least = least.min(sum * sum / (8.0 * squares));
            }
            got = [0.0; 8];
            window += Duration::from_secs(10);
        }
        if window > Duration::from_secs(100) {
            break;
        }
    }
    assert!(least >= 0.95, "{least:.3}");
}
