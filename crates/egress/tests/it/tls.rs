//! Certificates: only one of a known authority, for the name asked for, and of today, is the receiver's.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hookyard_core::AttemptClass;
use hookyard_egress::{Authorities, Egress, EgressConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::stage::{Scripted, door_of, loopback_allowed, post};

const NAME: &str = "receiver.example";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
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
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).expect("usable");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if stream.read(&mut [0; 4096]).await.is_ok() {
                    drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await);
                }
            });
        }
    });
    port
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
    let (known, unknown) = (authority(), authority());
    let door = door_that_trusts(&known);
    let cases = [
        (&known, NAME, false, AttemptClass::Success),
        (&unknown, NAME, false, AttemptClass::Tls),
        (&known, "other.example", false, AttemptClass::Tls),
        (&known, NAME, true, AttemptClass::Tls),
    ];
    for (authority, name, is_expired, expected) in cases {
        let port = receiver(authority, name, is_expired).await;
        let result = post(&door, &format!("https://{NAME}:{port}/")).await;
        assert_eq!(result.class, expected, "{name}, expired: {is_expired}");
    }
}
