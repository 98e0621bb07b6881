//! The receiver of both sides: as little HTTP/1.1 as the two clients need, so that it costs them as little as possible.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::board::Board;
use crate::event;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Room for a request and the next one.
const BUFFER: usize = 4 * 1024;
/// Longest request read: nobody sends us more.
const REQUEST_MOST: usize = 64 * 1024;

/// A receiver on this machine.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
}

/// How an endpoint behaves that does not just answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It takes the request and says nothing.
    Hangs,
    /// It answers 500 at once.
    Fails,
    /// It answers 204 after a while.
    IsLate(Duration),
    /// It resets the connection.
    Resets,
    /// It answers, a byte of the body each second.
    Trickles,
}

struct State {
    /// Endpoints below this number behave so; their requests are not noted.
    bad: RwLock<Option<(usize, Manner)>>,
    board: RwLock<Arc<Board>>,
    connections: AtomicUsize,
    strays: AtomicUsize,
}

/// What is wanted of a request.
struct Request {
    endpoint: Option<usize>,
    event: Option<(u32, usize)>,
}

impl Receiver {
    /// Begins to receive on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the receiver cannot listen")?;
        let address = listener.local_addr().context("the receiver has no address")?;
        let board = RwLock::new(Arc::new(Board::new(0, 0, 1)));
        let bad = RwLock::default();
        let state = Arc::new(State { bad, board, connections: AtomicUsize::new(0), strays: AtomicUsize::new(0) });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state })
    }

    /// The base of its URLs: an endpoint is its number behind it.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// From now on, arrivals are noted here. Counts connections and strays anew.
    pub fn use_board(&self, board: Arc<Board>) {
        *self.state.board.write().unwrap_or_else(PoisonError::into_inner) = board;
        self.state.connections.store(0, Ordering::Relaxed);
        self.state.strays.store(0, Ordering::Relaxed);
    }

    /// From now on, endpoints below `count` behave so.
    pub fn behave(&self, bad: Option<(usize, Manner)>) {
        *self.state.bad.write().unwrap_or_else(PoisonError::into_inner) = bad;
    }

    /// Connections accepted since the board was hung up.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Requests since then that belong to no delivery of this round.
    pub fn strays(&self) -> usize {
        self.state.strays.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        // Errors of accept are those of the peer, or pass.
        let Ok((stream, _)) = listener.accept().await else { continue };
        state.connections.fetch_add(1, Ordering::Relaxed);
        let state = Arc::clone(&state);
        // How a connection ends is its client's affair; what is missing is found on the board.
        tokio::spawn(async move { serve(stream, &state).await });
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(BUFFER);
    loop {
        while let Some(request) = take(&mut buffer)? {
            if let Some(manner) = state.manner(&request) {
                misbehave(&mut stream, manner).await?;
                continue;
            }
            state.note(&request);
            stream.write_all(ANSWER).await?;
        }
        if buffer.len() > REQUEST_MOST || stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

async fn misbehave(stream: &mut TcpStream, manner: Manner) -> io::Result<()> {
    match manner {
        // Until its client gives up.
        Manner::Hangs => stream.readable().await,
        Manner::Fails => stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await,
        Manner::IsLate(late) => {
            tokio::time::sleep(late).await;
            stream.write_all(ANSWER).await
        }
        Manner::Resets => {
            stream.set_zero_linger()?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Manner::Trickles => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                stream.write_all(b"x").await?;
            }
        }
    }
}

impl State {
    fn manner(&self, request: &Request) -> Option<Manner> {
        let (count, manner) = (*self.bad.read().unwrap_or_else(PoisonError::into_inner))?;
        request.endpoint.filter(|endpoint| *endpoint < count).map(|_| manner)
    }

    fn note(&self, request: &Request) {
        let board = self.board.read().unwrap_or_else(PoisonError::into_inner);
        let noted = match (request.endpoint, request.event) {
            (Some(endpoint), Some((round, number))) => board.note(round, number, endpoint),
            _ => false,
        };
        if !noted {
            self.strays.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes one request off the front of the buffer, if it is there as a whole.
fn take(buffer: &mut BytesMut) -> io::Result<Option<Request>> {
    let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (&buffer[..end], end + 4);
    let length = content_length(head).ok_or_else(|| io::Error::other("a request without a length"))?;
    if buffer.len() < body + length {
        return Ok(None);
    }
    let request = Request { endpoint: endpoint(head), event: event::read(&buffer[body..body + length]) };
    buffer.advance(body + length);
    Ok(Some(request))
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line =
        head.split(|byte| *byte == b'\n').find(|line| line.get(..NAME.len()).is_some_and(|at| at.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

/// The number in `POST /7 HTTP/1.1`.
fn endpoint(head: &[u8]) -> Option<usize> {
    let path = head.strip_prefix(b"POST /")?.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(path).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_as_they_complete() {
        let data = event::data(1, 2);
        let text = format!("POST /7 HTTP/1.1\r\nhost: here\r\nContent-Length: {}\r\n\r\n{data}", data.len());
        let mut buffer = BytesMut::from(&text.as_bytes()[..text.len() - 1]);
        assert!(take(&mut buffer).expect("readable").is_none());
        buffer.extend_from_slice(b"}POST /");
        let request = take(&mut buffer).expect("readable").expect("whole");
        assert_eq!((request.endpoint, request.event, &buffer[..]), (Some(7), Some((1, 2)), &b"POST /"[..]));
    }
}
