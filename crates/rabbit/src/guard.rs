//! What stands between the socket and the AMQP library: no message that a publisher can write ends a connection (ADR 8).

mod frames;
mod header;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AMQPUriTcpExt as _, TLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};

use self::frames::Frames;

/// Bytes read from the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// The connection as the library makes it: plain, or TLS as the URL says.
type Inner = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Connects with the guard in between.
pub async fn connect(uri: AMQPUri, properties: ConnectionProperties) -> lapin::Result<Connection> {
    let tokio = Runtime::tokio_current();
    let connecting = async move |uri: AMQPUri, _| {
        let stream = uri.connect_with_config_async(TLSConfig::default(), &tokio).await?;
        Ok(AsyncTcpStream::Plain(Guarded::new(stream, Frames::new(uri.query.frame_max))))
    };
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), GuardedReactor(Tokio::current())));
    Connection::connector(uri, runtime, connecting, properties).await
}

/// A connection whose incoming frames are repaired.
pub struct Guarded<S> {
    inner: S,
    frames: Frames,
    input: Box<[u8]>,
    /// What may be read, and how much of it was.
    out: Vec<u8>,
    read: usize,
}

impl<S> Guarded<S> {
    fn new(inner: S, frames: Frames) -> Self {
        Self { inner, frames, input: vec![0; READ_BYTES].into(), out: Vec::new(), read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.read == this.out.len() {
            this.out.clear();
            this.out.shrink_to(4 * READ_BYTES);
            this.read = 0;
            let count = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.input))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            this.frames.feed(&this.input[..count], &mut this.out);
        }
        let count = buffer.len().min(this.out.len() - this.read);
        buffer[..count].copy_from_slice(&this.out[this.read..this.read + count]);
        this.read += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, parts)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_close(cx)
    }
}

/// Tokio with guarded connections: the library asks its runtime which type a connection has.
#[derive(Clone, Debug)]
struct GuardedReactor(Tokio);

impl Reactor for GuardedReactor {
    type TcpStream = Guarded<Inner>;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// The library registers nothing, and the bound with which it could be passed on has no public name.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Guarded::new(AsyncTcpStream::Plain(connecting.await?), Frames::new(None))) }
    }
}
