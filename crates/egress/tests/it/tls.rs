//! Certificates: only one of a known authority, for the name asked for, and of today, is the receiver's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hookyard_core::AttemptClass;
use hookyard_egress::{Authorities, Egress, EgressConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::stage::{Scripted, door_of, loopback_allowed, post};

const NAME: &str = "receiver.example";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    authority_called("an authority")
}

fn authority_called(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A receiver with a certificate for `name` of this authority, good or of long ago.
async fn receiver(authority: &Authority, name: &str, is_expired: bool) -> u16 {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    if is_expired {
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    serve(vec![certificate.der().clone()], &key, &[]).await
}

/// A receiver with this chain, which speaks these protocols if it says which.
async fn serve(chain: Vec<CertificateDer<'static>>, key: &KeyPair, protocols: &[&[u8]]) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(chain, key).expect("usable");
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return answer_by_http_2(stream).await;
                }
                if stream.read(&mut [0; 4096]).await.is_ok() {
                    drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await);
                }
            });
        }
    });
    port
}

async fn answer_by_http_2(stream: TlsStream<TcpStream>) {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let answer = http::Response::builder().status(204).body(()).expect("an answer");
        respond.send_response(answer, true).expect("answered");
    }
}

fn door_that_trusts(authority: &Authority) -> Egress {
    let look_up = Arc::new(Scripted::default());
    look_up.of(NAME, &[&[IpAddr::V4(Ipv4Addr::LOCALHOST)]]);
    let authorities = Authorities::parse(authority.pem().as_bytes()).expect("certificates");
    door_of(EgressConfig { allow: loopback_allowed(), authorities, ..EgressConfig::default() }, look_up)
}

#[tokio::test]
async fn a_certificate_is_judged_by_its_authority_its_name_and_its_time() {
    hookyard_egress::install_crypto();
    let (known, namesake, unknown) = (authority(), authority(), authority_called("somebody else"));
    let door = door_that_trusts(&known);
    let cases = [
        (&known, NAME, false, AttemptClass::Success, ""),
        (&namesake, NAME, false, AttemptClass::Tls, "TLS: the certificate's issuer is not known"),
        (&unknown, NAME, false, AttemptClass::Tls, "TLS: the chain of certificates is incomplete"),
        (&known, "other.example", false, AttemptClass::Tls, "TLS: the certificate is for another name"),
        (&known, NAME, true, AttemptClass::Tls, "TLS: the certificate has expired"),
    ];
    for (authority, name, is_expired, expected, said) in cases {
        let port = receiver(authority, name, is_expired).await;
        let result = post(&door, &format!("https://{NAME}:{port}/")).await;
        assert_eq!(result.class, expected, "{name}, expired: {is_expired}");
        assert!(String::from_utf8_lossy(&result.response).starts_with(said), "{:?}", result.response);
    }
}

/// What tools make by default: a certificate that is an authority's, signed by itself, and the receiver's own.
fn of_ones_own(name: &str, is_expired: bool) -> Authority {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if is_expired {
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    }
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_good_where_the_operator_trusts_it() {
    hookyard_egress::install_crypto();
    let cases = [
        (NAME, false, true, AttemptClass::Success, ""),
        ("other.example", false, true, AttemptClass::Tls, "TLS: the certificate is"),
        (NAME, true, true, AttemptClass::Tls, "TLS: the certificate has expired"),
        (NAME, false, false, AttemptClass::Tls, "TLS: the certificate"),
    ];
    for (name, is_expired, is_trusted, expected, said) in cases {
        let own = of_ones_own(name, is_expired);
        let port = serve(vec![own.der().clone()], own.key(), &[]).await;
        let door = if is_trusted { door_that_trusts(&own) } else { door_that_trusts(&authority()) };
        let result = post(&door, &format!("https://{NAME}:{port}/")).await;
        assert_eq!(result.class, expected, "{name}, expired: {is_expired}, trusted: {is_trusted}: {:?}", result.response);
        assert!(String::from_utf8_lossy(&result.response).starts_with(said), "{:?}", result.response);
    }
}

#[tokio::test]
async fn receivers_that_speak_one_version_of_http_get_it() {
    hookyard_egress::install_crypto();
    let own = of_ones_own(NAME, false);
    let door = door_that_trusts(&own);
    for protocols in [&[&b"h2"[..]][..], &[b"http/1.1"], &[b"h2", b"http/1.1"], &[]] {
        let port = serve(vec![own.der().clone()], own.key(), protocols).await;
        for _ in 0..3 {
            let result = post(&door, &format!("https://{NAME}:{port}/")).await;
            assert_eq!((result.class, result.status), (AttemptClass::Success, Some(204)), "{protocols:?} {:?}", result.response);
        }
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_so() {
    hookyard_egress::install_crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let result = post(&door_that_trusts(&authority()), &format!("https://{NAME}:{port}/")).await;
    assert_eq!((result.class, &result.response[..]), (AttemptClass::Tls, &b"TLS: what answers does not speak TLS"[..]));
}

#[tokio::test]
async fn one_that_hangs_up_in_the_handshake_is_asked_once() {
    hookyard_egress::install_crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream.read(&mut [0; 64]).await);
        }
    });
    let door = door_that_trusts(&authority());
    let result = post(&door, &format!("https://{NAME}:{port}/")).await;
    assert!(result.class != AttemptClass::Timeout && result.class != AttemptClass::Success, "{:?}", result.class);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}
