use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aqueduct_core::Clock;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::answer::{Answer, Content, JSON};
use super::book::{Book, Decision};
use super::outage::Dead;
use super::script::Script;
use super::service;

/// What the tasks of a backend share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Guards the whole book, so that what it says fits together. Held for some comparisons and additions at a time.
    book: Mutex<Book>,
    pub(super) clock: Clock,
    /// `http://127.0.0.1:PORT` of each host.
    pub(super) origins: Vec<String>,
    /// Tells each host that its weather has changed.
    changed: Vec<Notify>,
    connections_max: usize,
}

/// A port with its listener. The reservation keeps the port while nobody listens, so that the system gives it to no
/// connection of somebody else.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) address: SocketAddr,
    listener: TcpListener,
    reservation: Option<TcpSocket>,
}

/// Connections that wait to be accepted; the system cuts it down to its own limit.
const BACKLOG: u32 = 4096;
/// The head of a request; an id in a path is shorter.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Until the system has a descriptor or the port again.
const PAUSE: Duration = Duration::from_millis(10);

// ---- shared ----

impl Shared {
    pub(super) fn new(script: Script, ports: &[Port]) -> Self {
        let (clock, connections_max) = (script.clock.clone(), script.connections_max);
        Self {
            book: Mutex::new(Book::new(script, clock.now())),
            clock,
            origins: ports.iter().map(|port| format!("http://{}", port.address)).collect(),
            changed: ports.iter().map(|_| Notify::new()).collect(),
            connections_max,
        }
    }

    /// No code runs under this lock that could panic half-way, so a poisoned lock still guards whole values.
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn script(&self) -> Arc<Script> {
        self.book().script()
    }

    /// A call has come. The clock is read under the lock, so that calls are logged in the order of their times.
    pub(super) fn begin(&self, host: usize, key: Option<&str>) -> Decision {
        let mut book = self.book();
        let decision = book.begin(host, self.clock.now(), key);
        drop(book);
        if decision == Decision::Cut {
            self.tell(host);
        }
        decision
    }

    pub(super) fn tell(&self, host: usize) {
        if let Some(changed) = self.changed.get(host) {
            changed.notify_one();
        }
    }

    pub(super) fn tell_all(&self) {
        self.changed.iter().for_each(Notify::notify_one);
    }

    pub(super) fn account_answer(&self) -> Answer {
        let account = self.book().account();
        match serde_json::to_vec(&account) {
            Ok(text) => Answer::new(StatusCode::OK, JSON, Content::Own(text.into())),
            Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

// ---- port ----

impl Port {
    /// Takes a port of this machine's own address, or a free one for 0.
    pub(super) fn take(port: u16) -> Result<Self, (SocketAddr, io::Error)> {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = listen(asked).map_err(|error| (asked, error))?;
        let address = listener.local_addr().map_err(|error| (asked, error))?;
        Ok(Self { address, listener, reservation: None })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that ended a moment ago do not keep a host from coming back.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

// ---- the tasks ----

/// Keeps one host: listens while it is alive, and owns its connections. Ends when the backend is stopped.
pub(super) async fn keep(shared: Arc<Shared>, host: usize, port: Port) {
    let Port { address, listener, mut reservation } = port;
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    // A change of it resets every connection.
    let life = watch::Sender::new(());
    loop {
        let mut weather = shared.book().weather(host, shared.clock.now());
        if weather.cut || weather.stopped {
            life.send_replace(());
        }
        if weather.stopped {
            drop(listener);
            while connections.join_next().await.is_some() {}
            return;
        }
        if weather.dead == Some(Dead::Refuses) {
            listener = None;
            reservation = reservation.or_else(|| bind(address).ok());
        } else if listener.is_none() {
            listener = listen(address).ok();
            if listener.is_none() {
                // Where the system does not let both be bound, the reservation itself was in the way.
                reservation = None;
                listener = listen(address).ok();
            }
            if listener.is_none() {
                weather.wait = Some(PAUSE);
            }
        }
        tokio::select! {
            () = told(&shared, host) => {}
            () = passed(&shared.clock, weather.wait) => {}
            stream = accept(&shared.clock, listener.as_ref()), if connections.len() < shared.connections_max => {
                if shared.book().connected(host, shared.clock.now()) {
                    connections.spawn(connection(Arc::clone(&shared), host, stream, life.subscribe()));
                } else {
                    reset(stream);
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn told(shared: &Shared, host: usize) {
    match shared.changed.get(host) {
        Some(changed) => changed.notified().await,
        None => std::future::pending().await,
    }
}

async fn passed(clock: &Clock, wait: Option<Duration>) {
    match wait {
        Some(wait) => clock.sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn accept(clock: &Clock, listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The client is gone already, or the system has no descriptor left.
            Err(_) => clock.sleep(PAUSE).await,
        }
    }
}

/// Serves one connection until it ends or its host dies.
async fn connection(shared: Arc<Shared>, host: usize, stream: TcpStream, mut life: watch::Receiver<()>) {
    // An answer leaves when it is there, not when there is more.
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(AtomicBool::new(false));
    let cut_by_host = Arc::clone(&cut);
    let service =
        service_fn(move |request| service::serve(Arc::clone(&shared), host, Arc::clone(&cut), request));
    let mut connection = http1::Builder::new()
        // The date of the machine is not that of the clock.
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // How a connection ends says nothing: what became of its calls is in the account.
        _ = &mut connection => {}
        _ = life.changed() => {
            cut_by_host.store(true, Ordering::Relaxed);
            reset(connection.into_parts().io.into_inner());
        }
    }
}

/// Ends a connection so that the other side sees a reset and not an end.
fn reset(stream: TcpStream) {
    // Without it the connection ends all the same.
    let _ = stream.set_zero_linger();
    drop(stream);
}
