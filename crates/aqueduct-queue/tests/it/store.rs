use std::fmt;
use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Timestamp};
use aqueduct_queue::{Config, Delivery, Message, Queue, Queues};
use tempfile::TempDir;

/// A backend that the conformance suite runs on.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Memory,
}

impl Kind {
    pub const ALL: [Self; 1] = [Self::Memory];
}

/// A store of queues with a clock that stands still.
pub struct Store {
    pub queues: Queues,
    pub time: ManualClock,
    pub clock: Clock,
    pub folder: TempDir,
    kind: Kind,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Store {
    pub async fn new(kind: Kind) -> Self {
        // Shown with the failure of a test, so that it tells the backend.
        println!("on {kind:?}");
        let (clock, time) = Clock::manual(Timestamp(1_800_000_000_000));
        let folder = TempDir::new().unwrap();
        let queues = open(kind, &clock, &folder).await;
        Self { queues, time, clock, folder, kind }
    }

    /// A queue of the name `work` with the defaults.
    pub async fn queue(&self) -> Queue {
        self.queue_with(Config::default()).await
    }

    pub async fn queue_with(&self, config: Config) -> Queue {
        self.queues.declare("work", config).await.unwrap()
    }
}

async fn open(kind: Kind, clock: &Clock, _folder: &TempDir) -> Queues {
    match kind {
        Kind::Memory => Queues::memory_with(clock.clone()),
    }
}

/// Runs a test on every backend.
macro_rules! on_every_backend {
    ($(async fn $name:ident($store:ident) $body:block)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                for kind in $crate::store::Kind::ALL {
                    let $store = $crate::store::Store::new(kind).await;
                    $body
                }
            }
        )*
    };
}
pub(crate) use on_every_backend;

pub fn message(text: &str) -> Message {
    Message::new(text.as_bytes().to_vec())
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

pub const SECOND: Duration = Duration::from_secs(1);

/// Publishes texts, in this order.
pub async fn publish(queue: &Queue, texts: &[&str]) {
    for text in texts {
        queue.try_publish(message(text)).await.unwrap();
    }
}

/// Takes what is ready and acknowledges it, one after the other.
pub async fn drain(queue: &Queue) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(delivery) = queue.try_reserve().await.unwrap() {
        texts.push(text(&delivery));
        delivery.ack().await.unwrap();
    }
    texts
}

/// Takes one message that must be there.
pub async fn take(queue: &Queue) -> Delivery {
    queue.try_reserve().await.unwrap().expect("a message is ready")
}
