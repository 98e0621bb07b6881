//! Receivers that misbehave: each its outcome, within its time, without filling our memory, and on a connection of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookyard_core::AttemptClass;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{door, loopback_allowed, post, post_within};

/// What a receiver may get rid of before it is cut: the buffers of both sides' sockets, which the system fills without asking.
const SWALLOWED_MOST: usize = 16 * 1024 * 1024;
const BUDGET: Duration = Duration::from_millis(800);

/// How many connections came, and how many bytes were written.
#[derive(Default)]
struct Ledger {
    connections: AtomicUsize,
    written: AtomicUsize,
}

/// A receiver that answers each request by `answer`, and closes the connection when that ends.
async fn receiver<F: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(Wire) -> F + Send + Sync + 'static,
) -> (SocketAddr, Arc<Ledger>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, ledger) = (listener.local_addr().expect("an address"), Arc::<Ledger>::default());
    let (answer, counted) = (Arc::new(answer), Arc::clone(&ledger));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.connections.fetch_add(1, Ordering::SeqCst);
            let (answer, ledger) = (Arc::clone(&answer), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut wire = Wire { stream, ledger };
                if wire.stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                    answer(wire).await;
                }
            });
        }
    });
    (address, ledger)
}

struct Wire {
    stream: TcpStream,
    ledger: Arc<Ledger>,
}

impl Wire {
    /// Whether somebody still listens.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = self.stream.write_all(bytes).await.is_ok();
        self.ledger.written.fetch_add(bytes.len(), Ordering::SeqCst);
        written
    }
}

/// Posts twice: the class, the time the first took, and what the receiver saw of both.
async fn twice(address: SocketAddr, ledger: &Ledger) -> (AttemptClass, Duration, usize, usize) {
    let door = door(loopback_allowed(), Arc::default());
    let (url, begun) = (format!("http://{address}/"), Instant::now());
    let class = post_within(&door, &url, BUDGET).await.class;
    let took = begun.elapsed();
    assert_eq!(post_within(&door, &url, BUDGET).await.class, class);
    (class, took, ledger.connections.load(Ordering::SeqCst), ledger.written.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut() {
    let (address, ledger) = receiver(|mut wire| async move {
        wire.write(b"HTTP/1.1 200 OK\r\n").await;
        while wire.write(&[b"x-more: ", &[b'x'; 1000][..], b"\r\n"].concat()).await {}
    })
    .await;
    let (class, _, connections, written) = twice(address, &ledger).await;
    assert_eq!((class, connections), (AttemptClass::Protocol, 2));
    assert!(written < SWALLOWED_MOST, "{written}");
}

#[tokio::test]
async fn a_line_of_the_head_that_never_ends_is_cut() {
    let (address, ledger) = receiver(|mut wire| async move {
        wire.write(b"HTTP/1.1 200 OK\r\nx: ").await;
        while wire.write(&[b'x'; 4096]).await {}
    })
    .await;
    let (class, _, connections, written) = twice(address, &ledger).await;
    assert_eq!((class, connections), (AttemptClass::Protocol, 2));
    assert!(written < SWALLOWED_MOST, "{written}");
}

#[tokio::test]
async fn a_gigabyte_is_delivered_and_hardly_read() {
    let (address, ledger) = receiver(|mut wire| async move {
        let chunk = vec![b'x'; 64 * 1024];
        wire.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n").await;
        for _ in 0..1024 * 1024 * 1024 / chunk.len() {
            if !wire.write(&chunk).await {
                return;
            }
        }
    })
    .await;
    let (class, took, connections, written) = twice(address, &ledger).await;
    assert_eq!((class, connections), (AttemptClass::Success, 2));
    assert!(took < BUDGET && written < 2 * SWALLOWED_MOST, "{took:?} {written}");
}

#[tokio::test]
async fn a_head_that_comes_slowly_is_a_timeout() {
    let (address, ledger) = receiver(|mut wire| async move {
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" {
            if !wire.write(&[*byte]).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let (class, took, connections, _) = twice(address, &ledger).await;
    assert_eq!((class, connections), (AttemptClass::Timeout, 2));
    assert!(took < 2 * BUDGET, "{took:?}");
}

#[tokio::test]
async fn a_body_that_trickles_is_a_timeout() {
    let (address, ledger) = receiver(|mut wire| async move {
        wire.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while wire.write(b"x").await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let (class, took, connections, _) = twice(address, &ledger).await;
    assert_eq!((class, connections), (AttemptClass::Timeout, 2));
    assert!(took < 2 * BUDGET, "{took:?}");
}

#[tokio::test]
async fn what_is_no_http_is_a_breach_of_protocol() {
    let answers: [&'static [u8]; 5] = [
        b"HELO example.com\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: nine\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nwhat\r\n",
    ];
    for answer in answers {
        let (address, ledger) = receiver(move |mut wire| async move {
            wire.write(answer).await;
            // Held open: it is what was said that is wrong, not that it ended.
            drop(wire.stream.read(&mut [0; 1]).await);
        })
        .await;
        let (class, _, connections, _) = twice(address, &ledger).await;
        assert_eq!((class, connections), (AttemptClass::Protocol, 2), "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn one_that_hangs_up_early_broke_the_protocol() {
    for answer in [&b""[..], b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"] {
        let (address, ledger) = receiver(move |mut wire| async move {
            wire.write(answer).await;
        })
        .await;
        let (class, _, connections, _) = twice(address, &ledger).await;
        assert_eq!(class, AttemptClass::Protocol, "{}", String::from_utf8_lossy(answer));
        assert_eq!(connections, 2, "the request is not sent again on another connection");
    }
}

#[tokio::test]
async fn one_that_resets_the_connection_is_asked_once() {
    let (address, ledger) = receiver(|wire| async move {
        wire.stream.set_zero_linger().expect("set");
    })
    .await;
    let (class, _, connections, _) = twice(address, &ledger).await;
    assert_eq!((class, connections), (AttemptClass::Protocol, 2));
}

#[tokio::test]
async fn http_1_0_and_what_goes_before_a_response_are_understood() {
    let answers: [&'static [u8]; 2] = [
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ];
    for answer in answers {
        let (address, _) = receiver(move |mut wire| async move {
            wire.write(answer).await;
        })
        .await;
        let result = post(&door(loopback_allowed(), Arc::default()), &format!("http://{address}/")).await;
        assert_eq!((result.class, &*result.response), (AttemptClass::Success, &b"ok"[..]));
    }
}
