//! Question: what is a connection from the pool worth, and what does the client cost above what it stands on?
//!
//! Workload: one thread calls a server on loopback, one call after the other; the server answers 200 bytes from a thread of
//! its own. Over TLS: the client, and bare reqwest with a new connection for each call, once with the sessions of TLS kept
//! and once without. Without TLS: the client and a bare reqwest call, to a server that answers at once and to one that
//! takes a millisecond. The arms take turns; what is printed are medians of the rounds, and the CPU time of the thread
//! that calls, which is nobody else's.
//!
//! A good answer: a pooled call takes at most a third of one with a new connection; the client costs at most 2 us of CPU
//! a call and 5 % of a call of 1 ms. The server with TLS is two hops, which a pooled call feels more than a new one.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Clock;
use aqueduct_http::{Client, Config, Method, Request};
use aqueduct_testkit::proxy::{Authority, TlsServer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 15;

fn main() {
    let authority = Authority::new().expect("chance is there");
    let (plain, tls) = serve(&authority);
    let runtime = runtime();

    let config = Config::builder().allow_private(true).root_certificate(authority.pem()).build();
    let client = Client::new(config.expect("the bench's own configuration")).expect("there is TLS");
    let ours = |url: String| {
        let (client, runtime) = (&client, &runtime);
        move |calls: usize| {
            runtime.block_on(async {
                for _ in 0..calls {
                    let response =
                        client.call(Request::new(Method::GET, url.as_str())).await.expect("it answers");
                    assert_eq!(response.body().len(), 200);
                }
            });
        }
    };
    let bare = |client: reqwest::Client, url: String| {
        let runtime = &runtime;
        move |calls: usize| {
            runtime.block_on(async {
                for _ in 0..calls {
                    let response = client.get(url.as_str()).send().await.expect("it answers");
                    assert_eq!(response.bytes().await.expect("it answers").len(), 200);
                }
            });
        }
    };

    let (kept, full) = (tls_config(&authority, true), tls_config(&authority, false));
    let secure = format!("https://localhost:{}/", tls.port());
    let pooled = ours(secure.clone());
    let resumed = bare(reqwest_with(kept.clone(), 0), secure.clone());
    let new = bare(reqwest_with(full, 0), secure);
    print(
        "TLS",
        &[("pooled", &pooled), ("new connection, session kept", &resumed), ("new connection", &new)],
        150,
    );

    for (name, path, calls) in [("at once", "/", 2_000), ("1 ms", "/slow", 150)] {
        let url = format!("http://{plain}{path}");
        let one = bare(reqwest_with(kept.clone(), 20), url.clone());
        print(name, &[("bare reqwest", &one), ("client", &ours(url))], calls);
    }
}

/// Lets the arms take turns, and prints the median of each and what it is to the first.
fn print(question: &str, arms: &[(&str, &dyn Fn(usize))], calls: usize) {
    let clock = Clock::system();
    let mut taken = vec![(Vec::new(), Vec::new()); arms.len()];
    for round in 0..=ROUNDS {
        for ((_, arm), (walls, cpus)) in arms.iter().zip(&mut taken) {
            let (begun, cpu) = (clock.now(), cpu_time());
            arm(calls);
            // The first round warms up.
            if round > 0 {
                let each = |time: Duration| time.as_secs_f64() * 1e6 / calls as f64;
                walls.push(each(clock.now().since(begun)));
                cpus.push(each(cpu_time().saturating_sub(cpu)));
            }
        }
    }
    let mut first = None;
    for ((name, _), (walls, cpus)) in arms.iter().zip(&mut taken) {
        let (wall, cpu) = (median(walls), median(cpus));
        let (of_wall, of_cpu) = *first.get_or_insert((wall, cpu));
        println!(
            "{question:<8} {name:<29} {wall:>7.1} us a call ({:>5.2} x), {cpu:>6.1} us of CPU ({:>+6.1})",
            wall / of_wall,
            cpu - of_cpu
        );
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What this thread has used, as Linux counts it.
fn cpu_time() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(counted.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn tls_config(authority: &Authority, sessions: bool) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let pem = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("it is PEM");
    roots.add(pem).expect("it is a certificate");
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("they are known")
            .with_root_certificates(roots)
            .with_no_client_auth();
    if !sessions {
        config.resumption = rustls::client::Resumption::disabled();
    }
    config
}

fn reqwest_with(tls: rustls::ClientConfig, idle_max: usize) -> reqwest::Client {
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls).pool_max_idle_per_host(idle_max);
    builder.no_proxy().http1_only().build().expect("the bench's own configuration")
}

/// Starts a server without TLS and one with it, on a thread of their own that ends with the bench.
fn serve(authority: &Authority) -> (SocketAddr, SocketAddr) {
    let identity = authority.issue(&["localhost"]).expect("a name");
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let plain = listener.local_addr().expect("it is bound");
            let tls = TlsServer::start(identity, plain).await.expect("a port is free");
            ready.send((plain, tls.address())).expect("the bench waits for it");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    started.recv().expect("it starts")
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let said = format!("HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{}", "x".repeat(200));
    let (mut request, clock) = ([0; 4096], Clock::system());
    // A request of the bench is one read.
    while let length @ 1.. = stream.read(&mut request).await? {
        if request.get(..length).is_some_and(|request| request.starts_with(b"GET /slow")) {
            clock.sleep(Duration::from_millis(1)).await;
        }
        stream.write_all(said.as_bytes()).await?;
    }
    Ok(())
}
