//! A proxy that does to connections what networks and dying servers do.

mod link;
mod tls;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aqueduct_core::Clock;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use tls::{Authority, Identity, TlsError, TlsServer};

/// What a [`FaultProxy`] does to the connections that are there and to those that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass both ways as they come.
    Pass,
    /// Its port is closed. Connections that are there are reset.
    Refuse,
    /// Connections are accepted and reset at once; those that are there are reset.
    Reset,
    /// The way back is gone: requests reach the server, but nothing comes from it any more, not even its end.
    HalfOpen,
    /// Everything is accepted and read, nothing reaches the server, and nothing is ever answered.
    BlackHole,
    /// The response comes in drops.
    Drip {
        /// How large a drop is, in bytes. Zero is one.
        bytes: usize,
        /// How long it waits after each.
        every: Duration,
    },
    /// A connection is closed in good order after so many bytes of its response.
    CutAfter(u64),
    /// Each piece of the response comes so much later.
    Delay(Duration),
}

/// How many connections a proxy has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// All that it has accepted.
    pub opened: u64,
    /// Those that are open now.
    pub open: u64,
    /// The most that were open at once.
    pub open_max: u64,
}

/// A proxy on a port of its own before one address, or before nothing. It belongs to one test: when it is dropped, its
/// connections are closed and its tasks end. It needs a tokio runtime with I/O, and time for [`Fault::Drip`] and
/// [`Fault::Delay`].
///
/// It is made for HTTP/1.1: a client that closes its side has ended the connection.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    connections: watch::Receiver<Connections>,
    accepting: JoinHandle<()>,
}

/// A fault to be had from now on, and who waits until it is.
#[derive(Debug)]
struct Order {
    fault: Fault,
    done: oneshot::Sender<io::Result<()>>,
}

/// What every connection of a proxy knows.
#[derive(Clone, Debug)]
struct Shared {
    upstream: Option<SocketAddr>,
    fault: watch::Receiver<Fault>,
    connections: Arc<watch::Sender<Connections>>,
    clock: Clock,
}

/// As many as a listener of std has.
const BACKLOG: u32 = 128;

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `upstream`. Without one, a connection that is
    /// to be passed on is closed.
    ///
    /// # Errors
    ///
    /// What the system says when there is no port.
    pub fn start(upstream: impl Into<Option<SocketAddr>>) -> io::Result<Self> {
        Self::start_with(upstream, Clock::system())
    }

    /// The same with a clock, by which it drips and delays.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(upstream: impl Into<Option<SocketAddr>>, clock: Clock) -> io::Result<Self> {
        let port = closed_port((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = port.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (change, fault) = watch::channel(Fault::Pass);
        let (count, connections) = watch::channel(Connections::default());
        let (orders, ordered) = mpsc::channel(1);
        let shared = Shared { upstream: upstream.into(), fault, connections: Arc::new(count), clock };
        let port = Port { address, open: Some(listener), closed: None };
        let accepting = tokio::spawn(accept(port, ordered, change, shared));
        Ok(Self { address, orders, connections, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the fault, for the connections that are there too, and returns when new ones meet it.
    ///
    /// # Errors
    ///
    /// What the system says when its port cannot be opened or closed.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have changed the fault or not.
    pub async fn set(&self, fault: Fault) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        let gone = || io::Error::other("the runtime of the proxy has ended");
        self.orders.send(Order { fault, done }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// How many connections there were and are.
    #[must_use]
    pub fn connections(&self) -> Connections {
        *self.connections.borrow()
    }

    /// Waits until its connections are as asked for, and tells how they are.
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the wait and nothing else.
    pub async fn until(&self, mut wanted: impl FnMut(Connections) -> bool) -> Connections {
        let mut connections = self.connections.clone();
        // Its sender lives in a task that ends only with this proxy or the runtime.
        match connections.wait_for(|now| wanted(*now)).await {
            Ok(now) => *now,
            Err(_) => self.connections(),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // The task owns the listener and, in a set, the tasks of all connections.
        self.accepting.abort();
    }
}

/// The port of a proxy, which is held when it is closed too, so that nobody else gets it meanwhile.
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    open: Option<TcpListener>,
    closed: Option<TcpSocket>,
}

impl Port {
    fn close(&mut self) -> io::Result<()> {
        if self.open.take().is_some() {
            self.closed = Some(closed_port(self.address)?);
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if let Some(port) = self.closed.take() {
            self.open = Some(port.listen(BACKLOG)?);
        }
        Ok(())
    }

    async fn accept(&self) -> io::Result<TcpStream> {
        match &self.open {
            Some(listener) => Ok(listener.accept().await?.0),
            None => std::future::pending().await,
        }
    }
}

/// Takes a port and does not listen, so that who connects is refused.
fn closed_port(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // The connections of the listener that was there before may still be around.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn accept(
    mut port: Port,
    mut orders: mpsc::Receiver<Order>,
    change: watch::Sender<Fault>,
    shared: Shared,
) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Order { fault, done }) = order else { return };
                let changed = if fault == Fault::Refuse { port.close() } else { port.open() };
                change.send_replace(fault);
                // Nobody waits any more when the call was cancelled.
                let _ = done.send(changed);
            }
            // One that was reset before it was accepted is an error here, and no reason to stop.
            Ok(client) = port.accept() => {
                links.spawn(link::run(client, shared.clone()));
            }
            Some(_) = links.join_next() => {}
        }
    }
}
