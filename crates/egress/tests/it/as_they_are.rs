//! Receivers as they are: what is legal or common is no failure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookyard_core::AttemptClass;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::stage::{Scripted, door, loopback_allowed, post, post_within};

const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A receiver that answers so many requests of a connection, and closes it at the next one: without a word, or by a reset.
async fn closes_after(answered: usize, by_reset: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, requests) = (listener.local_addr().expect("an address"), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                for number in 0.. {
                    if !stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                    if number == answered {
                        break;
                    }
                    if stream.write_all(EMPTY).await.is_err() {
                        return;
                    }
                }
                if by_reset {
                    stream.set_zero_linger().expect("set");
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_idle_is_no_failure() {
    for by_reset in [false, true] {
        let (address, requests) = closes_after(1, by_reset).await;
        let (door, url) = (door(loopback_allowed(), Arc::default()), format!("http://{address}/"));
        for number in 0..5 {
            assert_eq!(post(&door, &url).await.class, AttemptClass::Success, "request {number}, by reset: {by_reset}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Two of the five met a connection that was closed; each was sent once more.
        let seen = requests.load(Ordering::SeqCst);
        assert!((6..=7).contains(&seen), "{seen} requests");
    }
}

#[tokio::test]
async fn a_fresh_connection_that_is_closed_is_a_failure_and_asked_once() {
    let (address, requests) = closes_after(0, false).await;
    let door = door(loopback_allowed(), Arc::default());
    assert_eq!(post(&door, &format!("http://{address}/")).await.class, AttemptClass::Protocol);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

async fn answering(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 4096]).await;
            if read.is_ok_and(|read| read > 0) && stream.write_all(&answer).await.is_ok() {
                drop(stream.read(&mut [0; 1]).await);
            }
        }
    });
    address
}

#[tokio::test]
async fn answers_that_are_legal_or_common_are_understood() {
    let many = (0..380).fold(String::new(), |many, number| format!("{many}x-{number}: y\r\n"));
    let heads = [
        "x-folded: one\r\n two\r\n".to_owned(),
        "x-blank : after the name\r\n".to_owned(),
        "x-bytes: \u{1}\u{2}\r\n".to_owned(),
        "no colon here\r\n".to_owned(),
        many,
    ];
    for head in heads {
        let address = answering(format!("HTTP/1.1 200 OK\r\n{head}content-length: 2\r\n\r\nok").into_bytes()).await;
        let result =
            post_within(&door(loopback_allowed(), Arc::default()), &format!("http://{address}/"), Duration::from_secs(2)).await;
        let shown: String = head.chars().take(40).collect();
        assert_eq!((result.class, &result.response[..]), (AttemptClass::Success, &b"ok"[..]), "{shown:?}");
    }
    let latin = b"HTTP/1.1 200 OK\r\nx-name: M\xfcller\r\ncontent-length: 2\r\n\r\nok".to_vec();
    let address = answering(latin).await;
    assert_eq!(post(&door(loopback_allowed(), Arc::default()), &format!("http://{address}/")).await.class, AttemptClass::Success);
}

/// `{"message": "` and 500 times `no `, compressed by gzip.
const GZIP: &[u8] = include_bytes!("answer.json.gz");

#[tokio::test]
async fn a_compressed_answer_is_shown_decoded() {
    let answer = |coding: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 400 Bad Request\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let shown = async |answer| {
        post(&door(loopback_allowed(), Arc::default()), &format!("http://{}/", answering(answer).await)).await.response
    };
    assert!(shown(answer("gzip", GZIP)).await.starts_with(b"{\"message\": \"no no no"));
    assert_eq!(&shown(answer("gzip", b"no gzip")).await[..], b"no gzip");
    assert_eq!(&shown(answer("rot13", b"abc")).await[..], b"abc");
}

/// An address that takes no connection and says nothing: its queue is full.
async fn dead(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(address).expect("bound");
    let listener = socket.listen(1).expect("listening");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_dead_first_address_costs_less_than_300_ms() {
    let alive = answering(EMPTY.to_vec()).await;
    let first = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let held = dead(SocketAddr::new(first, alive.port())).await;
    let look_up = Arc::new(Scripted::default());
    look_up.of("two.example", &[&[first, IpAddr::V4(Ipv4Addr::LOCALHOST)]]);
    let (door, begun) = (door(loopback_allowed(), look_up), Instant::now());
    let result = post_within(&door, &format!("http://two.example:{}/", alive.port()), Duration::from_secs(1)).await;
    assert_eq!(result.class, AttemptClass::Success);
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    drop(held);
}
