use std::time::Duration;

use aqueduct_testkit::proxy::{Fault, FaultProxy};

use crate::server::{Reply, Server};
use crate::{alone, client, get, local};

const CALLS: u64 = 1_000;

#[test]
fn a_thousand_errors_and_a_thousand_cancelled_calls_leave_nothing_open() {
    alone("released::errors_and_cancelled_calls");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("this is Linux").count()
}

/// Waits for the state, within a time in which it is there or never.
async fn back_to(before: usize) {
    let back = async {
        while descriptors() != before {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), back).await;
    assert!(waited.is_ok(), "{} descriptors, {before} before", descriptors());
}

#[tokio::test]
#[ignore = "the test above runs it in a process of its own"]
async fn errors_and_cancelled_calls() {
    let server = Server::saying(Reply::ok(vec![b'x'; 100_000])).await;
    let proxy = FaultProxy::start(server.address).expect("a port is free");
    let (client, url) = (client(local().connections_per_host(4)), format!("http://{}/", proxy.address()));
    let before = descriptors();

    let faults = [Fault::Reset, Fault::CutAfter(50), Fault::CutAfter(50_000), Fault::Refuse];
    for number in 0..CALLS {
        if number % 100 == 0 {
            let fault = faults[usize::try_from(number).expect("it is small") / 100 % faults.len()];
            proxy.set(fault).await.expect("it is there");
        }
        get(&client, &url).await.expect_err("it is broken");
    }
    proxy.until(|now| now.open == 0).await;
    back_to(before).await;

    proxy.set(Fault::Pass).await.expect("it is there");
    let mut cancelled = 0;
    while cancelled < CALLS {
        // Each is dropped a little later than the one before: in the pool, connecting, in the head, in the body.
        let polls = cancelled % 40;
        let call = get(&client, &url);
        tokio::select! {
            biased;
            _ = call => {}
            () = async { for _ in 0..polls { tokio::task::yield_now().await } } => {}
        }
        cancelled += 1;
    }
    // Those that were answered in time have left connections that may be used again, and no more than fit.
    proxy.until(|now| now.open <= 4).await;
    assert_eq!(client.snapshot().calls, 0);
    drop(client);
    proxy.until(|now| now.open == 0).await;
    back_to(before).await;
}
