//! Certificates of receivers: judged as the system does, with an operator's own authorities beside; and what is wrong with one, in words.

use std::error::Error;
use std::sync::Arc;

use hookyard_core::{Fault, FaultKind};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage, OtherError, SignatureScheme};
use webpki::EndEntityCert;

/// Protocols that are offered, in their order: receivers that speak one alone get it.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Certificates of authorities.
#[derive(Clone, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// From a file of certificates in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(pem: &[u8]) -> Result<Self, Fault> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = read.map_err(|error| Fault::caused(FaultKind::Refused, "read certificates", error))?;
        if certificates.is_empty() {
            return Err(Fault::new(FaultKind::Refused, "read certificates"));
        }
        Ok(Self(certificates))
    }

    /// TLS for requests to receivers.
    pub(crate) fn client(self) -> Result<ClientConfig, Fault> {
        let refused = |error: rustls::Error| Fault::caused(FaultKind::Refused, "build TLS", error);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let system = rustls_platform_verifier::Verifier::new_with_extra_roots(self.0.clone(), Arc::clone(&provider));
        let judge = Judge { system: system.map_err(refused)?, own: self.0 };
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(refused)?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(judge)).with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

/// A chain that ends before an authority, where the receiver should have sent more of it.
#[derive(Debug, thiserror::Error)]
#[error("the chain of certificates is incomplete")]
struct IncompleteChain;

/// Who judges certificates.
#[derive(Debug)]
struct Judge {
    system: rustls_platform_verifier::Verifier,
    own: Vec<CertificateDer<'static>>,
}

impl Judge {
    /// Whether a certificate of an operator's authority is used by the receiver itself: what tools for certificates of one's own make.
    /// Its time was judged before it was found to be an authority's (webpki 0.103, `check_issuer_independent_properties`).
    fn is_own(&self, error: &rustls::Error, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else { return false };
        let is_authority = matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity));
        let is_named =
            || EndEntityCert::try_from(certificate).is_ok_and(|own| own.verify_is_valid_for_subject_name(name).is_ok());
        is_authority && self.own.iter().any(|own| own == certificate) && is_named()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.system.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(error) if self.is_own(&error, certificate, name) => Ok(ServerCertVerified::assertion()),
            Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
                if is_incomplete(certificate, intermediates) =>
            {
                let cause = OtherError(Arc::new(IncompleteChain));
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(cause)))
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.system.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.system.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.system.supported_verify_schemes()
    }
}

/// Whether the last certificate that was sent names an issuer that is not itself: only an authority of one's own would end the chain there.
fn is_incomplete(certificate: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> bool {
    let last = intermediates.last().unwrap_or(certificate);
    EndEntityCert::try_from(last).is_ok_and(|last| last.issuer() != last.subject())
}

/// What went wrong with TLS, in words that name nothing of ours.
pub fn told(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<rustls::Error>() {
            return Some(in_words(error));
        }
        let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}

fn in_words(error: &rustls::Error) -> &'static str {
    use CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            C::Expired | C::ExpiredContext { .. } => "TLS: the certificate has expired",
            C::NotValidYet | C::NotValidYetContext { .. } => "TLS: the certificate is not valid yet",
            C::NotValidForName | C::NotValidForNameContext { .. } => "TLS: the certificate is for another name",
            // One of the same name as an authority's, with another key.
            C::UnknownIssuer | C::BadSignature => "TLS: the certificate's issuer is not known",
            C::Revoked => "TLS: the certificate was revoked",
            C::Other(OtherError(cause)) if cause.is::<IncompleteChain>() => {
                "TLS: the chain of certificates is incomplete: the issuer's certificate is not sent, or its authority is not known"
            }
            _ => "TLS: the certificate is not good",
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => "TLS: what answers does not speak TLS",
        _ => "TLS: no common version, cipher or protocol",
    }
}
