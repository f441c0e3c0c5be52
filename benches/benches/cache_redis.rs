//! Question: what does a read of the level in Redis cost beside a bare GET of the redis crate?
//!
//! Workload: a redis-server on the same machine, 1,000 keys with values of 100 bytes and of 10 KiB. Bare GET (its value as
//! bytes), the same again (the control), our read, and a bare GET and PTTL in one round trip, which is another way to learn
//! the age of an entry: in turn, 20 rounds of 2,000 reads, once one after another and once 32 at a time.
//!
//! A good answer: ours takes at most 1.1 of the bare time.

use std::time::Duration;

use aqueduct_benches::calls::{Failure, row, title};
use aqueduct_cache::{Level, Place, Redis, RedisConfig, Stored};
use aqueduct_core::Clock;
use aqueduct_testkit::RedisServer;
use redis::aio::MultiplexedConnection;

const ROUNDS: usize = 20;
const READS: usize = 2_000;
const KEYS: usize = 1_000;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

#[derive(Clone, Copy, Debug)]
enum Arm {
    Bare,
    Again,
    Ours,
    WithTtl,
}

#[derive(Clone, Debug)]
struct Arms {
    bare: MultiplexedConnection,
    ours: std::sync::Arc<Redis>,
}

impl Arms {
    async fn read(&self, arm: Arm, key: usize) -> Result<usize, Failure> {
        let mut bare = self.bare.clone();
        Ok(match arm {
            Arm::Bare | Arm::Again => {
                let value: Vec<u8> =
                    redis::cmd("GET").arg(format!("bare:{key}")).query_async(&mut bare).await?;
                value.len()
            }
            Arm::Ours => {
                let key = key.to_string();
                let place = Place { namespace: "n", key: key.as_bytes() };
                let stored = self.ours.get(place).await?.ok_or("an entry is missing")?;
                stored.value.map_or(0, |value| value.len())
            }
            Arm::WithTtl => {
                let key = format!("bare:{key}");
                let mut pipe = redis::pipe();
                pipe.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
                let (value, _): (Vec<u8>, i64) = pipe.query_async(&mut bare).await?;
                value.len()
            }
        })
    }
}

async fn measure() -> Result<(), Failure> {
    let server = RedisServer::start()?;
    let clock = Clock::system();
    let config = RedisConfig::builder().response_timeout(Duration::from_secs(10)).build()?;
    let ours = Redis::new(&server.url(), config, clock.clone())?;
    let bare = redis::Client::open(server.url())?.get_multiplexed_async_connection().await?;
    let arms = Arms { bare, ours: ours.into() };
    for (size, name) in [(100, "100 bytes"), (10 << 10, "10 KiB")] {
        for key in 0..KEYS {
            let value = vec![b'x'; size];
            let hour = Some(Duration::from_hours(1));
            let stored = Stored {
                value: Some(value.clone().into()),
                at: clock.wall(),
                held: hour,
                ..Stored::default()
            };
            arms.ours.set(Place { namespace: "n", key: key.to_string().as_bytes() }, &stored).await?;
            let mut set = redis::cmd("SET");
            set.arg(format!("bare:{key}")).arg(value).arg("PX").arg(3_600_000);
            set.exec_async(&mut arms.bare.clone()).await?;
        }
        for at_once in [1, 32] {
            title(&format!("a read of {name}, {at_once} at a time"));
            compare(&arms, &clock, size, at_once).await?;
        }
    }
    Ok(())
}

async fn compare(arms: &Arms, clock: &Clock, size: usize, at_once: usize) -> Result<(), Failure> {
    let order = [Arm::Bare, Arm::Again, Arm::Ours, Arm::WithTtl];
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        for turn in 0..order.len() {
            // Each arm comes after each other one.
            let arm = (turn + round) % order.len();
            let begun = clock.now();
            let mut readers = tokio::task::JoinSet::new();
            for reader in 0..at_once {
                let (arms, which) = (arms.clone(), order[arm]);
                readers.spawn(async move {
                    for read in 0..READS / at_once {
                        if arms.read(which, (reader + read * 7) % KEYS).await? != size {
                            return Err(Failure::from("a value is not what was stored"));
                        }
                    }
                    Ok(())
                });
            }
            while let Some(ended) = readers.join_next().await {
                ended??;
            }
            if round > 0 {
                let reads = f64::from(u32::try_from(READS / at_once * at_once)?);
                times[arm].push(clock.now().since(begun).as_secs_f64() * 1e6 / reads);
            }
        }
    }
    let [bare, again, ours, with_ttl] = &times;
    row("us a read, bare GET", "", &format!("{:.1}", spread(bare).1));
    for (what, wanted, arm) in
        [("the same again", "", again), ("ours", "<= 1.1", ours), ("a bare GET and PTTL", "", with_ttl)]
    {
        let ratios: Vec<f64> = arm.iter().zip(bare).map(|(arm, bare)| arm / bare).collect();
        let (least, half, most) = spread(&ratios);
        row(&format!("{what}: of bare ({least:.2} to {most:.2} by round)"), wanted, &format!("{half:.3}"));
    }
    Ok(())
}

fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}
