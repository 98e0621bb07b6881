//! An egress proxy: everything goes through it, and what it does wrong is a fault of ours.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookyard_core::{AttemptClass, FaultKind};
use hookyard_egress::{Egress, EgressConfig, EgressProxy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Scripted, door_of, loopback_allowed, post, receiver, try_post};

const BUDGET: Duration = Duration::from_secs(3);

/// A proxy that says `answer` to CONNECT and then passes on, or else answers every request so; the heads it got.
async fn proxy(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, heads) = (listener.local_addr().expect("an address"), Arc::<Mutex<Vec<String>>>::default());
    let got = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let got = Arc::clone(&got);
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or_default();
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).map(str::to_owned);
                got.lock().expect("unpoisoned").push(head);
                if stream.write_all(answer).await.is_ok()
                    && let Some(target) = target
                    && let Ok(mut onward) = TcpStream::connect(target).await
                {
                    drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
                }
            });
        }
    });
    (address, heads)
}

fn through(proxy: &str) -> Egress {
    let proxy = Some(EgressProxy::parse(proxy).expect("a proxy"));
    let config = EgressConfig { allow: loopback_allowed(), proxy, ..EgressConfig::default() };
    door_of(config, Arc::new(Scripted::default()))
}

#[tokio::test]
async fn requests_go_through_it_with_its_credentials_and_names_are_its_to_resolve() {
    let (address, heads) = proxy(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let door = through(&format!("http://user:pass@{address}"));
    let result = post(&door, "http://receiver.example/hook").await;
    assert_eq!((result.class, &*result.response), (AttemptClass::Success, &b"ok"[..]));
    let head = heads.lock().expect("unpoisoned")[0].to_ascii_lowercase();
    assert!(head.starts_with("post http://receiver.example/hook http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic dxnlcjpwyxnz"), "{head}");
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_to_the_receiver_itself() {
    let (address, heads) = proxy(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    let plain = receiver(b"not TLS at all\r\n").await;
    let result = post(&through(&format!("http://{address}")), &format!("https://{plain}/hook")).await;
    assert_eq!(result.class, AttemptClass::Tls, "what is behind the tunnel is the receiver's");
    assert!(heads.lock().expect("unpoisoned")[0].starts_with(&format!("CONNECT {plain} HTTP/1.1\r\n")));
}

#[tokio::test]
async fn a_proxy_that_is_away_or_wants_credentials_is_our_fault() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let (wants, _) = proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
    for address in [closed, wants] {
        let door = through(&format!("http://{address}"));
        for url in ["http://receiver.example/?token=hidden", "https://receiver.example/?token=hidden"] {
            let fault = try_post(&door, url, BUDGET).await.expect_err("our fault");
            assert_eq!(fault.kind, FaultKind::Unavailable);
            assert!(!format!("{fault:?} {}", fault.chain()).contains("hidden"));
        }
    }
}

#[tokio::test]
async fn a_receiver_that_the_proxy_cannot_reach_failed_itself() {
    let (address, _) = proxy(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
    let door = through(&format!("http://{address}"));
    assert_eq!(post(&door, "https://receiver.example/").await.class, AttemptClass::Connect);
    assert_eq!(post(&door, "http://receiver.example/").await.class, AttemptClass::Http5xx);
}

#[tokio::test]
async fn addresses_that_a_url_spells_are_judged_before_it() {
    let (address, heads) = proxy(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let door = through(&format!("http://{address}"));
    for url in ["http://169.254.169.254/latest", "https://[fd00::1]/", "http://metadata.google.internal/", "http://10.1/"] {
        assert_eq!(post(&door, url).await.class, AttemptClass::Blocked, "{url}");
    }
    assert!(heads.lock().expect("unpoisoned").is_empty());
}

#[test]
fn only_a_proxy_is_one() {
    for good in ["http://proxy:3128", "http://u:p@proxy:3128/", "https://proxy.example"] {
        assert!(EgressProxy::parse(good).is_ok(), "{good}");
    }
    for bad in ["proxy:3128", "socks5://proxy:1080", "http://proxy:3128/path", "http://proxy/?x=1", ""] {
        assert!(EgressProxy::parse(bad).is_err(), "{bad}");
    }
}
