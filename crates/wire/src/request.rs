//! The request to a receiver: body, signature and headers. Pure.

use hookyard_core::journal::Shown;
use hookyard_core::port::Request;
use hookyard_core::signature::sign;
use hookyard_core::{Delivery, Endpoint, Fault, FaultKind, Policy, Timestamp};
use url::Url;

use crate::body;

/// Which names the signature headers have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureHeaders {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    #[default]
    Standard,
    /// `svix-id`, `svix-timestamp`, `svix-signature`.
    Svix,
    /// Both, with the same values.
    Both,
}

impl SignatureHeaders {
    fn prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Standard => &["webhook"],
            Self::Svix => &["svix"],
            Self::Both => &["webhook", "svix"],
        }
    }
}

/// What the headers say that every request has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    pub content_type: &'a str,
    pub user_agent: &'a str,
    pub id: &'a str,
    pub timestamp: &'a str,
    pub signature: &'a str,
}

impl Ours<'_> {
    /// In the order in which they are sent, the signature last.
    pub(crate) fn headers(self, names: SignatureHeaders) -> Vec<(String, String)> {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![header("content-type", self.content_type), header("user-agent", self.user_agent)];
        for prefix in names.prefixes() {
            headers.push((format!("{prefix}-id"), self.id.to_owned()));
            headers.push((format!("{prefix}-timestamp"), self.timestamp.to_owned()));
            headers.push((format!("{prefix}-signature"), self.signature.to_owned()));
        }
        headers
    }

    /// Whether these are the headers that [`Ours::headers`] makes. Asked of every attempt: it allocates nothing.
    pub(crate) fn are(self, names: SignatureHeaders, headers: &[(String, String)]) -> bool {
        let Some((first, signed)) = headers.split_first_chunk::<2>() else { return false };
        let is = |(name, value): &(String, String), wanted: (&str, &str)| name == wanted.0 && value == wanted.1;
        let of_prefix = |prefix: &str, headers: &[(String, String)]| {
            let wanted = [("-id", self.id), ("-timestamp", self.timestamp), ("-signature", self.signature)];
            headers.iter().zip(wanted).all(|((name, value), (end, wanted))| {
                name.strip_prefix(prefix).is_some_and(|rest| rest == end) && value == wanted
            })
        };
        is(&first[0], ("content-type", self.content_type))
            && is(&first[1], ("user-agent", self.user_agent))
            && signed.len() == 3 * names.prefixes().len()
            && signed.chunks(3).zip(names.prefixes()).all(|(headers, prefix)| of_prefix(prefix, headers))
    }
}

impl SignatureHeaders {
    /// Headers of ours that a request has with these names.
    pub(crate) fn count(self) -> usize {
        2 + 3 * self.prefixes().len()
    }
}

/// Builds the request of an attempt made at `now`.
pub fn build(
    delivery: &Delivery,
    endpoint: &Endpoint,
    policy: &Policy,
    signature_headers: SignatureHeaders,
    user_agent: &str,
    now: Timestamp,
) -> Result<Request, Fault> {
    let url = Url::parse(&endpoint.url).map_err(|error| Fault::caused(FaultKind::Corrupt, "read an endpoint's URL", error))?;
    let body = body::write(&delivery.message, policy.body_format);
    let id = delivery.message.id.to_string();
    let signature = sign(&id, now, &body.bytes, endpoint.live_secrets(now));
    let timestamp = now.as_seconds().to_string();
    let mut headers = Vec::with_capacity(10);
    // Ours last: whatever an endpoint was saved with, it cannot replace them.
    headers.extend(endpoint.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    headers.extend(endpoint.api_key.iter().map(|key| (key.header.to_ascii_lowercase(), key.value.clone())));
    let ours = Ours { content_type: &body.content_type, user_agent, id: &id, timestamp: &timestamp, signature: &signature };
    headers.extend(ours.headers(signature_headers));
    Ok(Request { url, headers, body: body.bytes, timeout: policy.timeout })
}

/// What stands for a value that is not shown.
pub const HIDDEN: &str = "****";

/// The request as the log shows it: what the endpoint was given to keep is not shown again.
pub fn shown(request: &Request, endpoint: &Endpoint) -> Shown {
    let own = |name: &str| {
        let custom = endpoint.headers.keys().any(|own| own.eq_ignore_ascii_case(name));
        custom || endpoint.api_key.as_ref().is_some_and(|key| key.header.eq_ignore_ascii_case(name))
    };
    let header = |(name, value): &(String, String)| (name.clone(), if own(name) { HIDDEN.to_owned() } else { value.clone() });
    Shown { url: shown_url(&request.url), headers: request.headers.iter().map(header).collect() }
}

/// The URL as the log shows it: without userinfo and query, which may hold credentials.
fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    let cleared = shown.set_username("").and_then(|()| shown.set_password(None));
    shown.set_query(None);
    shown.set_fragment(None);
    if cleared.is_ok() { shown.into() } else { url.host_str().unwrap_or_default().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shown_url_holds_no_credentials() {
        let url = Url::parse("https://user:pass@example.com:8443/hook?token=1#x").expect("a URL");
        assert_eq!(shown_url(&url), "https://example.com:8443/hook");
    }
}
