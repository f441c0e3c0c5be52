use aqueduct_core::{Phase, Shutdown};

#[tokio::test]
async fn a_stop_reaches_those_who_wait_for_a_drain_and_is_never_taken_back() {
    let (shutdown, mut signal) = Shutdown::new();
    assert_eq!(signal.phase(), Phase::Running);
    shutdown.stop();
    shutdown.drain();
    signal.reached(Phase::Draining).await;
    assert_eq!(signal.phase(), Phase::Stopping);
}
