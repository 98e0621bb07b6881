//! The headers of a request as a record keeps them: without what follows from the attempt.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::request::{Ours, SignatureHeaders};
use crate::v1;
use crate::v1::sent_headers::Names;

const JSON: &str = "application/json";
const AGENT: &str = "Hookyard/";
const MAC: &str = "v1,";
/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

type Headers = Vec<(String, String)>;

/// Of an attempt at a message with this id, made in this second.
pub(crate) fn to_proto(headers: &[(String, String)], id: &str, second: i64) -> Option<v1::SentHeaders> {
    if headers.is_empty() {
        return None;
    }
    let timestamp = second.to_string();
    let shortened = [SignatureHeaders::Both, SignatureHeaders::Standard, SignatureHeaders::Svix]
        .into_iter()
        .find_map(|names| shorten(headers, names, id, &timestamp));
    Some(shortened.unwrap_or_else(|| v1::SentHeaders { others: others(headers), ..v1::SentHeaders::default() }))
}

/// What [`to_proto`] was given.
pub(crate) fn from_proto(sent: Option<v1::SentHeaders>, id: &str, second: i64) -> Headers {
    let Some(sent) = sent else { return Headers::new() };
    let names = match sent.names() {
        Names::Webhook => SignatureHeaders::Standard,
        Names::Svix => SignatureHeaders::Svix,
        Names::Both => SignatureHeaders::Both,
    };
    let mut headers: Headers = sent.others.into_iter().map(|header| (header.name, header.value)).collect();
    if sent.has_ours {
        let or = |text: String, other: String| if text.is_empty() { other } else { text };
        let content_type = or(sent.content_type, JSON.to_owned());
        let user_agent = or(sent.user_agent, format!("{AGENT}{}", sent.version));
        let signature = or(sent.signature, format!("{MAC}{}", BASE64.encode(&sent.mac)));
        let timestamp = second.to_string();
        let (content_type, user_agent, signature) = (&*content_type, &*user_agent, &*signature);
        headers.extend(Ours { content_type, user_agent, id, timestamp: &timestamp, signature }.headers(names));
    }
    headers
}

/// Leaves out what follows, if the last of them are ours with these names.
fn shorten(headers: &[(String, String)], names: SignatureHeaders, id: &str, timestamp: &str) -> Option<v1::SentHeaders> {
    let (others_of, ours) = headers.split_at_checked(headers.len().checked_sub(names.count())?)?;
    let (content_type, user_agent, signature) = (&*ours[0].1, &*ours[1].1, &*ours.last()?.1);
    let is_ours = Ours { content_type, user_agent, id, timestamp, signature }.are(names, ours);
    // An absent text stands for another one here.
    if !is_ours || [content_type, user_agent, signature].contains(&"") {
        return None;
    }
    let version = user_agent.strip_prefix(AGENT);
    let mac = signature.strip_prefix(MAC).and_then(|mac| BASE64.decode(mac).ok()).filter(|mac| mac.len() == MAC_BYTES);
    Some(v1::SentHeaders {
        others: others(others_of),
        has_ours: true,
        content_type: if content_type == JSON { String::new() } else { content_type.to_owned() },
        version: version.unwrap_or_default().to_owned(),
        user_agent: if version.is_some() { String::new() } else { user_agent.to_owned() },
        signature: if mac.is_some() { String::new() } else { signature.to_owned() },
        mac: mac.map(Bytes::from).unwrap_or_default(),
        names: i32::from(match names {
            SignatureHeaders::Standard => Names::Webhook,
            SignatureHeaders::Svix => Names::Svix,
            SignatureHeaders::Both => Names::Both,
        }),
    })
}

fn others(headers: &[(String, String)]) -> Vec<v1::Header> {
    headers.iter().map(|(name, value)| v1::Header { name: name.clone(), value: value.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn what_follows_from_the_attempt_is_left_out_and_comes_back() {
        let (id, second) = ("msg_0EEs6ZSGTcl3ULVTbEd0hbAdajG", 1_769_860_800);
        let signature = format!("{MAC}{}", BASE64.encode([7; MAC_BYTES]));
        let timestamp = second.to_string();
        let ours = Ours { content_type: JSON, user_agent: "Hookyard/0.1.0", id, timestamp: &timestamp, signature: &signature };
        for names in [SignatureHeaders::Standard, SignatureHeaders::Svix, SignatureHeaders::Both] {
            let own = vec![("x-api-key".to_owned(), "****".to_owned())];
            for headers in [ours.headers(names), [own.clone(), ours.headers(names)].concat()] {
                let kept = to_proto(&headers, id, second);
                assert!(kept.as_ref().is_some_and(|kept| kept.has_ours && kept.encoded_len() < 70), "{kept:?}");
                assert_eq!(from_proto(kept, id, second), headers);
            }
        }
    }

    #[test]
    fn what_is_not_as_expected_is_kept_as_it_is() {
        let (id, second) = ("msg_1", 5);
        let ours = Ours { content_type: "", user_agent: "curl", id: "msg_2", timestamp: "5", signature: "v1,x v1a,y" };
        let plain = Ours { content_type: "text/plain", user_agent: "curl", id, timestamp: "5", signature: "v1,x v1a,y" };
        for headers in [Headers::new(), ours.headers(SignatureHeaders::Both), plain.headers(SignatureHeaders::Svix)] {
            assert_eq!(from_proto(to_proto(&headers, id, second), id, second), headers);
        }
    }
}
