//! A server for HTTP/1.1 that says exactly what it is told to, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a client has asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    head: String,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What it says: bytes as they are, and then a piece again and again.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    start: Vec<u8>,
    piece: Bytes,
    pieces: usize,
    end: Vec<u8>,
    close: bool,
}

impl Reply {
    /// A whole response.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut start = format!("HTTP/1.1 {status} reason\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            start += &format!("{name}: {value}\r\n");
        }
        let start = [start.as_bytes(), b"\r\n", body].concat();
        Self { start, piece: Bytes::new(), pieces: 0, end: Vec::new(), close: false }
    }

    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[("content-type", "text/plain")], body)
    }

    pub(crate) fn json(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[("content-type", "application/json")], body)
    }

    pub(crate) fn to(status: u16, location: &str) -> Self {
        Self::new(status, &[("location", location)], "")
    }

    /// These bytes and nothing else, and then the end of the connection.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self { start: bytes.to_vec(), piece: Bytes::new(), pieces: 0, end: Vec::new(), close: true }
    }

    /// A body in chunks, whose length nobody knows before.
    pub(crate) fn chunked(headers: &str, piece: &[u8], pieces: usize) -> Self {
        let start = format!("HTTP/1.1 200 OK\r\n{headers}transfer-encoding: chunked\r\n\r\n").into_bytes();
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        Self { start, piece: chunk.into(), pieces, end: b"0\r\n\r\n".to_vec(), close: false }
    }
}

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    asked: Mutex<Vec<Asked>>,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Bytes that were written.
    pub(crate) sent: usize,
    /// Connections that were accepted.
    pub(crate) opened: usize,
    /// Connections that are open, and the most there ever were.
    pub(crate) open: usize,
    pub(crate) open_max: usize,
    /// Requests that are being answered, and the most there ever were.
    pub(crate) busy: usize,
    pub(crate) busy_max: usize,
}

impl Server {
    /// Answers each request with what the function gives.
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Asked) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        // All addresses of the loopback network are its own.
        let listener = TcpListener::bind("0.0.0.0:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let (shared, answer) = (Arc::clone(&state), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        links.spawn(serve(stream, Arc::clone(&answer), Arc::clone(&shared)));
                    }
                    Some(_) = links.join_next() => {}
                }
            }
        });
        Self { address: ([127, 0, 0, 1], port).into(), state, task }
    }

    /// The same with one answer for everybody.
    pub(crate) async fn saying(reply: Reply) -> Self {
        Self::start(move |_| std::future::ready(reply.clone())).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().expect("no test panics with it").clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.state.counts.lock().expect("no test panics with it")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().expect("no test panics with it");
        change(&mut counts);
        counts.open_max = counts.open_max.max(counts.open);
        counts.busy_max = counts.busy_max.max(counts.busy);
    }
}

async fn serve<F, R>(mut stream: TcpStream, answer: Arc<F>, state: Arc<State>)
where
    F: Fn(Asked) -> R,
    R: Future<Output = Reply>,
{
    let _ = stream.set_nodelay(true);
    state.count(|counts| {
        counts.opened += 1;
        counts.open += 1;
    });
    while let Some(asked) = read(&mut stream).await {
        state.asked.lock().expect("no test panics with it").push(asked.clone());
        state.count(|counts| counts.busy += 1);
        let reply = answer(asked).await;
        // It is over for the client when the last byte is there, so it is for us before it is sent.
        state.count(|counts| counts.busy -= 1);
        if write(&mut stream, &reply, &state).await.is_err() || reply.close {
            break;
        }
    }
    state.count(|counts| counts.open -= 1);
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut words = text.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut asked = Asked { method, path, head: text.clone(), body: Bytes::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = Bytes::copy_from_slice(&bytes[head..]);
    Some(asked)
}

async fn write(stream: &mut TcpStream, reply: &Reply, state: &State) -> std::io::Result<()> {
    let middle = std::iter::repeat_n(&reply.piece[..], reply.pieces);
    for piece in std::iter::once(&reply.start[..]).chain(middle).chain([&reply.end[..]]) {
        stream.write_all(piece).await?;
        state.count(|counts| counts.sent += piece.len());
    }
    Ok(())
}
