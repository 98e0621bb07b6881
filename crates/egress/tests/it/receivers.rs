//! The door against real sockets: statuses, addresses, and the plain ways of not answering.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hookyard_core::address::AllowList;
use hookyard_core::{AttemptClass, Directive, RetryAfter, limits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::stage::{Scripted, door, loopback_allowed, post, post_within, receiver};

#[tokio::test]
async fn statuses_headers_and_redirects() {
    let door = door(loopback_allowed(), Arc::default());
    let ok = receiver(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok").await;
    let result = post(&door, &format!("http://{ok}/")).await;
    assert_eq!((result.class, result.status, &*result.response), (AttemptClass::Success, Some(202), &b"ok"[..]));

    let elsewhere = receiver(b"HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(post(&door, &format!("http://{elsewhere}/")).await.class, AttemptClass::Http3xx);

    let later = receiver(b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\nwebhook-delivery: disable\r\ncontent-length: 0\r\n\r\n").await;
    let result = post(&door, &format!("http://{later}/")).await;
    assert_eq!(result.class, AttemptClass::Http429);
    assert_eq!(result.retry_after, Some(RetryAfter::Delay(Duration::from_secs(7))));
    assert_eq!(result.directive, Some(Directive::Disable));
}

#[tokio::test]
async fn a_response_that_never_ends_is_a_timeout_within_the_budget() {
    let door = door(loopback_allowed(), Arc::default());
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\n"] {
        let address = receiver(answer).await;
        let begun = Instant::now();
        let result = post_within(&door, &format!("http://{address}/"), Duration::from_millis(300)).await;
        assert_eq!(result.class, AttemptClass::Timeout);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[tokio::test]
async fn a_flood_is_cut_and_still_a_success() {
    let mut flood = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n".to_vec();
    flood.resize(1_000_000, b'x');
    let address = receiver(flood.leak()).await;
    let result = post(&door(loopback_allowed(), Arc::default()), &format!("http://{address}/")).await;
    assert_eq!((result.class, result.response.len()), (AttemptClass::Success, limits::RESPONSE_KEPT_BYTES));
}

#[tokio::test]
async fn each_way_of_not_answering_has_its_class() {
    let door = door(loopback_allowed(), Arc::default());
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    assert_eq!(post(&door, &format!("http://{closed}/")).await.class, AttemptClass::Connect);
    let garbage = receiver(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    assert_eq!(post(&door, &format!("http://{garbage}/")).await.class, AttemptClass::Protocol);
    assert_eq!(post(&door, &format!("https://{garbage}/")).await.class, AttemptClass::Tls);
    assert_eq!(post(&door, "http://nowhere.example/").await.class, AttemptClass::Dns);
}

#[tokio::test]
async fn special_addresses_are_blocked_spelled_or_resolved() {
    let look_up = Arc::new(Scripted::default());
    look_up.of("inside.example", &[&[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]]);
    let door = door(AllowList::default(), Arc::clone(&look_up));
    assert_eq!(post(&door, "http://127.0.0.1:8080/").await.class, AttemptClass::Blocked);
    assert_eq!(post(&door, "http://2130706433:8080/").await.class, AttemptClass::Blocked);
    assert_eq!(look_up.asked.load(Ordering::SeqCst), 0);
    assert_eq!(post(&door, "http://inside.example/").await.class, AttemptClass::Blocked);
    assert_eq!(look_up.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_cannot_win() {
    // Public when the endpoint was saved, private when the connection is made: only the second answer counts.
    let look_up = Arc::new(Scripted::default());
    let (public, metadata) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)));
    look_up.of("rebind.example", &[&[public], &[metadata]]);
    let door = door(loopback_allowed(), Arc::clone(&look_up));
    let address = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    let url = format!("http://rebind.example:{}/", address.port());
    assert_eq!(post(&door, &url).await.class, AttemptClass::Success);
    assert_eq!(post(&door, &url).await.class, AttemptClass::Blocked);
}

#[tokio::test]
async fn of_several_addresses_only_those_that_may_be_called_are() {
    let look_up = Arc::new(Scripted::default());
    let metadata = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
    let inside: IpAddr = "fd00::1".parse().expect("an address");
    look_up.of("mixed.example", &[&[metadata, IpAddr::V4(Ipv4Addr::LOCALHOST), inside]]);
    look_up.of("inside.example", &[&[metadata, inside]]);
    let door = door(loopback_allowed(), look_up);
    let address = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let at = |host: &str| format!("http://{host}:{}/", address.port());
    assert_eq!(post(&door, &at("mixed.example")).await.class, AttemptClass::Success);
    assert_eq!(post(&door, &at("inside.example")).await.class, AttemptClass::Blocked);
}

#[tokio::test]
async fn credentials_in_the_url_are_sent_as_basic_authorization() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let receiving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.expect("a request");
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("answered");
        String::from_utf8_lossy(&head[..read]).to_ascii_lowercase()
    });
    let door = door(loopback_allowed(), Arc::default());
    let result = post(&door, &format!("http://user:pass@{address}/hook")).await;
    assert_eq!(result.class, AttemptClass::Success);
    let head = receiving.await.expect("received");
    // base64 of user:pass, in lower case as the whole head is.
    assert!(head.contains("authorization: basic dxnlcjpwyxnz") && !head.contains("user:pass"), "{head}");
}
