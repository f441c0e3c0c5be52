//! One connection through the proxy, and what becomes of it under each fault.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Connections, Fault, Shared};

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// In good order: the client sees the end of the stream.
    Close,
    /// The client sees a reset.
    Reset,
}

/// Counts a connection as long as it is there.
struct Counted(Arc<watch::Sender<Connections>>);

impl Counted {
    fn new(connections: Arc<watch::Sender<Connections>>) -> Self {
        connections.send_modify(|now| {
            now.opened += 1;
            now.open += 1;
            now.open_max = now.open_max.max(now.open);
        });
        Self(connections)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|now| now.open -= 1);
    }
}

/// Serves one client until it or its server goes, or a fault ends it.
pub(super) async fn run(mut client: TcpStream, shared: Shared) {
    let counted = Counted::new(Arc::clone(&shared.connections));
    if serve(&mut client, shared).await == End::Reset {
        // Where that is refused the socket is closed in good order, which is the milder fault.
        let _ = client.set_zero_linger();
    }
    // In this order, so that a connection that is not counted any more is gone.
    drop(client);
    drop(counted);
}

async fn serve(client: &mut TcpStream, shared: Shared) -> End {
    let mut fault = shared.fault.clone();
    // A server is looked for only once the fault lets something pass.
    loop {
        match *fault.borrow_and_update() {
            Fault::Refuse | Fault::Reset => return End::Reset,
            Fault::BlackHole => {}
            Fault::HalfOpen if shared.upstream.is_none() => {}
            _ => break,
        }
        tokio::select! {
            changed = fault.changed() => if changed.is_err() { return End::Close },
            () = swallow(client) => return End::Close,
        }
    }
    let Some(upstream) = shared.upstream else { return End::Close };
    let Ok(mut server) = TcpStream::connect(upstream).await else { return End::Close };
    // A proxy that waits for more bytes would be a fault of its own.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let fault = shared.fault.clone();
    tokio::select! {
        end = request(from_client, to_server, fault.clone()) => end,
        end = response(from_server, to_client, fault, shared) => end,
    }
}

/// Reads until the client is gone.
async fn swallow(client: &mut TcpStream) {
    let mut piece = vec![0; PIECE_BYTES];
    while !matches!(client.read(&mut piece).await, Ok(0) | Err(_)) {}
}

/// Passes on what the client sends. It always reads on, so that it sees the client go.
async fn request(mut client: ReadHalf<'_>, mut server: WriteHalf<'_>, fault: watch::Receiver<Fault>) -> End {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = client.read(&mut piece).await.ok();
        let Some(bytes) = read.and_then(|length| piece.get(..length)) else { return End::Close };
        if bytes.is_empty() {
            return End::Close;
        }
        let now = *fault.borrow();
        let lost = now != Fault::BlackHole && server.write_all(bytes).await.is_err();
        if lost && !silent(now) {
            return End::Close;
        }
    }
}

/// Passes on what the server sends, as the fault of the moment has it.
async fn response(
    mut server: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    mut fault: watch::Receiver<Fault>,
    shared: Shared,
) -> End {
    let mut piece = vec![0; PIECE_BYTES];
    let mut passed = 0_u64;
    loop {
        let read = tokio::select! {
            read = server.read(&mut piece) => read,
            changed = fault.changed() => {
                if changed.is_err() { return End::Close }
                match *fault.borrow_and_update() {
                    Fault::Refuse | Fault::Reset => return End::Reset,
                    Fault::CutAfter(max) if passed >= max => return End::Close,
                    _ => continue,
                }
            }
        };
        // The end of the server is one more thing that a peer that has vanished does not tell.
        let mut left = match read {
            Ok(0) | Err(_) if silent(*fault.borrow()) => {
                if fault.changed().await.is_err() {
                    return End::Close;
                }
                continue;
            }
            Ok(length) if length > 0 => piece.get(..length).unwrap_or_default(),
            _ => return End::Close,
        };
        while !left.is_empty() {
            let now = *fault.borrow_and_update();
            let (length, wait) = match now {
                Fault::Refuse | Fault::Reset => return End::Reset,
                Fault::HalfOpen | Fault::BlackHole => {
                    if fault.changed().await.is_err() {
                        return End::Close;
                    }
                    continue;
                }
                Fault::CutAfter(max) => {
                    let room = usize::try_from(max.saturating_sub(passed)).unwrap_or(usize::MAX);
                    (left.len().min(room), None)
                }
                Fault::Drip { bytes, every } => (left.len().min(bytes.max(1)), Some(every)),
                Fault::Delay(by) => {
                    shared.clock.sleep(by).await;
                    (left.len(), None)
                }
                Fault::Pass => (left.len(), None),
            };
            let (next, rest) = left.split_at(length);
            if client.write_all(next).await.is_err() {
                return End::Close;
            }
            left = rest;
            passed += next.len() as u64;
            if matches!(now, Fault::CutAfter(max) if passed >= max) {
                // What was written is to arrive: a close with bytes unread would be a reset.
                let _ = client.shutdown().await;
                return End::Close;
            }
            if let Some(every) = wait {
                tokio::select! {
                    () = shared.clock.sleep(every) => {}
                    _ = fault.changed() => {}
                }
            }
        }
    }
}

fn silent(fault: Fault) -> bool {
    matches!(fault, Fault::HalfOpen | Fault::BlackHole)
}
