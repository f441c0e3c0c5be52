use tokio::sync::watch;

/// How far a run has been asked to stop. It only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nobody has asked for anything.
    Running,
    /// Take nothing new; finish and commit what is in flight.
    Draining,
    /// Stop at once; what is not committed is read again next time.
    Stopping,
}

/// The side that asks a run to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<Phase>);

impl Shutdown {
    /// Makes the pair: one side asks, the other is told.
    #[must_use]
    pub fn new() -> (Self, ShutdownSignal) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (Self(sender), ShutdownSignal(receiver))
    }

    /// Asks the run to drain. Has no effect once it drains or stops.
    pub fn drain(&self) {
        self.raise(Phase::Draining);
    }

    /// Asks the run to stop at once.
    pub fn stop(&self) {
        self.raise(Phase::Stopping);
    }

    fn raise(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let moves = phase > *current;
            if moves {
                *current = phase;
            }
            moves
        });
    }
}

/// The side that is asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ShutdownSignal(watch::Receiver<Phase>);

impl ShutdownSignal {
    /// A signal that nobody will ever raise.
    #[must_use]
    pub fn never() -> Self {
        Shutdown::new().1
    }

    /// Gives the phase right now, without waiting.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is at least `phase`. Waits for ever when nobody is left to raise it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn reached(&mut self, phase: Phase) {
        if self.0.wait_for(|current| *current >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
