use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};

use aqueduct_balancer::{Balancer, Config, Endpoint, Event, HealthCheck, HealthChecker, HealthConfig, State};
use aqueduct_core::{Clock, ManualClock, Shutdown, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::{SECOND, endpoint};

type Heard = mpsc::Receiver<Event>;

/// Endpoints of these names, and a channel of what happens to them.
fn balancer(names: &[&str]) -> (Balancer<usize>, ManualClock, Heard) {
    let (clock, hand) = Clock::manual(Timestamp(0));
    let endpoints = names.iter().enumerate().map(|(index, name)| Endpoint::new(*name, index));
    let balancer = Balancer::new(endpoints, Config::default(), clock).expect("they are endpoints");
    let (tell, heard) = mpsc::channel(100);
    (balancer.with_observer(move |event| drop(tell.try_send(event.clone()))), hand, heard)
}

fn config() -> HealthConfig {
    HealthConfig { jitter: 0.0, ..HealthConfig::default() }
}

/// Moves the clock to the next check, again and again, until something is heard.
async fn hear(hand: &ManualClock, heard: &mut Heard) -> Event {
    loop {
        if let Ok(event) = heard.try_recv() {
            return event;
        }
        // A check that is under way in real time must not run into its time-out in virtual time.
        if !hand.is_busy() {
            hand.advance_to_next();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn so_many_answers_in_a_row_change_what_is_thought_of_an_endpoint() {
    let (balancer, hand, mut heard) = balancer(&["a"]);
    let well = Arc::new(AtomicBool::new(true));
    let asked = Arc::new(AtomicU32::new(0));
    let check = {
        let (well, asked) = (Arc::clone(&well), Arc::clone(&asked));
        HealthCheck::asking(move |endpoint| {
            assert_eq!(endpoint.name(), "a");
            asked.fetch_add(1, Ordering::Relaxed);
            let well = well.load(Ordering::Relaxed);
            async move { well }
        })
    };
    let (shutdown, signal) = Shutdown::new();
    let checker = HealthChecker::new(balancer.clone(), check, config(), 1).expect("it is right");
    let running = tokio::spawn(checker.run(signal));
    while asked.load(Ordering::Relaxed) < 5 {
        hand.advance_to_next();
        tokio::task::yield_now().await;
    }
    assert_eq!(balancer.snapshot()[0].state, State::Active);
    well.store(false, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(hear(&hand, &mut heard).await, Event::Unhealthy { endpoint: "a".into() });
    assert_eq!(asked.load(Ordering::Relaxed) - before, 3);
    assert_eq!(hear(&hand, &mut heard).await, Event::Panic { priority: 0 });
    well.store(true, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(hear(&hand, &mut heard).await, Event::Healthy { endpoint: "a".into() });
    assert_eq!(asked.load(Ordering::Relaxed) - before, 2);
    shutdown.drain();
    running.await.expect("it does not panic");
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_bad_one() {
    let (balancer, hand, mut heard) = balancer(&["a"]);
    let check = HealthCheck::asking(|_| std::future::pending());
    let checker = HealthChecker::new(balancer.clone(), check, config(), 1).expect("it is right");
    let running = tokio::spawn(checker.run(aqueduct_core::ShutdownSignal::never()));
    assert_eq!(hear(&hand, &mut heard).await, Event::Unhealthy { endpoint: "a".into() });
    running.abort();
}

#[tokio::test]
async fn endpoints_that_come_are_asked_and_those_that_go_are_not() {
    let (balancer, hand, _heard) = balancer(&["a"]);
    let (tell, mut asked) = mpsc::channel(100);
    let check = HealthCheck::asking(move |endpoint| {
        let _ = tell.try_send(endpoint.name().to_owned());
        async { true }
    });
    let checker = HealthChecker::new(balancer.clone(), check, config(), 1).expect("it is right");
    let running = tokio::spawn(checker.run(aqueduct_core::ShutdownSignal::never()));
    assert_eq!(asked.recv().await.as_deref(), Some("a"));
    balancer.add(endpoint(1)).expect("the name is free");
    assert_eq!(asked.recv().await.as_deref(), Some("b"));
    balancer.remove("a").expect("it is there");
    for _ in 0..5 {
        while hand.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        hand.advance(SECOND * 10);
        assert_eq!(asked.recv().await.as_deref(), Some("b"));
    }
    running.abort();
}

/// Answers every request with this status, until it is 0.
async fn serve(listener: TcpListener, status: Arc<AtomicU16>, seen: mpsc::Sender<String>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = vec![0; 1_024];
        let read = stream.read(&mut request).await.unwrap_or(0);
        let _ = seen.try_send(String::from_utf8_lossy(&request[..read]).into_owned());
        let answer = match status.load(Ordering::Relaxed) {
            0 => "no http at all\n".to_owned(),
            status => format!("HTTP/1.1 {status} Something\r\nContent-Length: 0\r\n\r\n"),
        };
        // In two pieces, as a network may.
        let (first, second) = answer.split_at(9);
        let _ = stream.write_all(first.as_bytes()).await;
        let _ = stream.flush().await;
        let _ = stream.write_all(second.as_bytes()).await;
    }
}

#[tokio::test]
async fn an_http_check_reads_the_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let status = Arc::new(AtomicU16::new(503));
    let (seen, mut requests) = mpsc::channel(100);
    let server = tokio::spawn(serve(listener, Arc::clone(&status), seen));
    let (balancer, hand, mut heard) = balancer(&[&address]);
    let check = HealthCheck::http("/health?deep=1")
        .and_then(|check| check.with_host("shop.test"))
        .expect("it is right");
    let checker = HealthChecker::new(balancer.clone(), check, config(), 1).expect("it is right");
    let running = tokio::spawn(checker.run(aqueduct_core::ShutdownSignal::never()));
    let name: Arc<str> = address.as_str().into();
    assert_eq!(hear(&hand, &mut heard).await, Event::Unhealthy { endpoint: Arc::clone(&name) });
    let request = requests.recv().await.expect("it was asked");
    assert!(request.starts_with("GET /health?deep=1 HTTP/1.1\r\nHost: shop.test\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n"));
    assert_eq!(hear(&hand, &mut heard).await, Event::Panic { priority: 0 });
    status.store(302, Ordering::Relaxed);
    assert_eq!(hear(&hand, &mut heard).await, Event::Healthy { endpoint: Arc::clone(&name) });
    assert_eq!(hear(&hand, &mut heard).await, Event::Calm { priority: 0 });
    status.store(0, Ordering::Relaxed);
    assert_eq!(hear(&hand, &mut heard).await, Event::Unhealthy { endpoint: name });
    running.abort();
    server.abort();
}

#[tokio::test]
async fn a_tcp_check_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let (balancer, hand, mut heard) = balancer(&["elsewhere"]);
    let at = address.clone();
    let check = HealthCheck::tcp().with_address(move |_| at.clone());
    let checker = HealthChecker::new(balancer.clone(), check, config(), 1).expect("it is right");
    let running = tokio::spawn(checker.run(aqueduct_core::ShutdownSignal::never()));
    listener.accept().await.expect("it connects");
    drop(listener);
    assert_eq!(hear(&hand, &mut heard).await, Event::Unhealthy { endpoint: "elsewhere".into() });
    running.abort();
}

#[test]
fn a_check_that_cannot_work_is_refused() {
    assert_eq!(HealthCheck::<()>::http("health").expect_err("no slash").field, "path");
    assert_eq!(HealthCheck::<()>::http("/a b\r\nX: y").expect_err("it would be two lines").field, "path");
    assert_eq!(HealthCheck::<()>::tcp().with_host("").expect_err("it is empty").field, "host");
    let checker = |config| {
        HealthChecker::new(balancer(&["a"]).0, HealthCheck::tcp(), config, 1)
            .map(drop)
            .expect_err("it is wrong")
            .field
    };
    assert_eq!(checker(HealthConfig { healthy: 0, ..config() }), "healthy");
    assert_eq!(checker(HealthConfig { unhealthy: 0, ..config() }), "unhealthy");
    assert_eq!(checker(HealthConfig { jitter: f64::NAN, ..config() }), "jitter");
    assert_eq!(checker(HealthConfig { interval: std::time::Duration::ZERO, ..config() }), "interval");
    assert_eq!(checker(HealthConfig { timeout: SECOND * 100_000, ..config() }), "timeout");
}
