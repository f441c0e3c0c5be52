use std::time::Duration;

use aqueduct_core::{Clock, ManualClock, Timestamp};
use aqueduct_queue::{Config, Delivery, Message, Queue, Queues};
use tempfile::TempDir;

/// A backend that the conformance suite runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Memory,
    Embedded,
}

/// A store of queues with a clock that stands still.
pub(crate) struct Store {
    pub(crate) queues: Queues,
    pub(crate) time: ManualClock,
    pub(crate) clock: Clock,
    pub(crate) folder: TempDir,
    kind: Kind,
}

impl Store {
    pub(crate) fn new(kind: Kind) -> Self {
        let (clock, time) = Clock::manual(Timestamp(1_800_000_000_000));
        let folder = TempDir::new().unwrap();
        let queues = open(kind, &clock, &folder);
        Self { queues, time, clock, folder, kind }
    }

    /// A queue of the name `work` with the defaults.
    pub(crate) async fn queue(&self) -> Queue {
        self.queue_with(Config::default()).await
    }

    /// Closes the store and opens it again. What is in memory is gone.
    pub(crate) async fn reopened(self) -> Self {
        self.queues.close().await.unwrap();
        let Self { queues, time, clock, folder, kind } = self;
        drop(queues);
        let queues = open(kind, &clock, &folder);
        Self { queues, time, clock, folder, kind }
    }

    pub(crate) async fn queue_with(&self, config: Config) -> Queue {
        self.queues.declare("work", config).await.unwrap()
    }
}

fn open(kind: Kind, clock: &Clock, folder: &TempDir) -> Queues {
    match kind {
        Kind::Memory => Queues::memory_with(clock.clone()),
        Kind::Embedded => Queues::open_with(folder.path().join("queues.redb"), clock.clone()).unwrap(),
    }
}

/// Makes a test for each backend.
macro_rules! on_every_backend {
    ($(async fn $name:ident($store:ident) $body:block)*) => {
        $(
            mod $name {
                #[allow(unused_imports, clippy::allow_attributes, reason = "not every test needs all of its file's")]
                use super::*;

                async fn on($store: $crate::store::Store) $body

                #[tokio::test]
                async fn memory() {
                    on($crate::store::Store::new($crate::store::Kind::Memory)).await;
                }

                #[tokio::test]
                async fn embedded() {
                    on($crate::store::Store::new($crate::store::Kind::Embedded)).await;
                }
            }
        )*
    };
}
pub(crate) use on_every_backend;

pub(crate) fn message(text: &str) -> Message {
    Message::new(text.as_bytes().to_vec())
}

pub(crate) fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Publishes texts, in this order.
pub(crate) async fn publish(queue: &Queue, texts: &[&str]) {
    for text in texts {
        queue.try_publish(message(text)).await.unwrap();
    }
}

/// Takes what is ready and acknowledges it, one after the other.
pub(crate) async fn drain(queue: &Queue) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(delivery) = queue.try_reserve().await.unwrap() {
        texts.push(text(&delivery));
        delivery.ack().await.unwrap();
    }
    texts
}

/// Takes one message that must be there.
pub(crate) async fn take(queue: &Queue) -> Delivery {
    queue.try_reserve().await.unwrap().expect("a message is ready")
}
