//! Endpoints as stores keep them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookyard_core::clock::Entropy;
use hookyard_core::seal::{SealError, SealingKeys};
use hookyard_core::signature::Secret;
use hookyard_core::{ApiKey, BodyFormat, Channel, Endpoint, EndpointSecret, EventPattern, Uid};
use hookyard_wire::stored::{
    StoredEndpoint, StoredError, StoredSubscription, read_endpoint, read_subscription, write_endpoint, write_tombstone,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::arbitrary::{app_id, endpoint_id, timestamp};

/// Different bytes at every call.
#[derive(Default)]
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            *byte = self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn keys(byte: u8) -> SealingKeys {
    SealingKeys::parse(&BASE64.encode([byte; 32])).expect("a key")
}

/// Text long enough never to stand somewhere by chance.
fn confidential() -> impl Strategy<Value = String> {
    "[A-Za-z0-9]{16,40}"
}

fn secret() -> impl Strategy<Value = EndpointSecret> {
    let secret = prop_oneof![
        vec(any::<u8>(), 24..=64).prop_map(|bytes| Secret::hmac(bytes).expect("valid")),
        any::<[u8; 32]>().prop_map(Secret::Ed25519),
    ];
    (secret, option::of(timestamp())).prop_map(|(secret, expires_at)| EndpointSecret { secret, expires_at })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let patterns = vec("[a-z.]{1,9}[*]?".prop_map(|text| text.parse::<EventPattern>().expect("valid")), 0..4);
    let channels = vec("[a-z]{1,9}".prop_map(|text| text.parse::<Channel>().expect("valid")), 0..4);
    let uid = option::of("[a-z0-9._-]{1,9}".prop_map(|text| text.parse::<Uid>().expect("valid")));
    let base = (endpoint_id(), app_id(), uid, any::<String>(), any::<String>(), patterns, channels, any::<bool>());
    let api_key = option::of(("[a-z-]{1,9}", confidential()).prop_map(|(header, value)| ApiKey { header, value }));
    let sealed = (confidential(), btree_map("[a-z-]{1,9}", confidential(), 0..4), api_key, vec(secret(), 0..4));
    let duration = || option::of(any::<u64>().prop_map(Duration::from_millis));
    let formats = [BodyFormat::Payload, BodyFormat::Envelope, BodyFormat::Standard, BodyFormat::CloudEvents];
    let schedule = option::of(vec(any::<u64>().prop_map(Duration::from_millis), 0..4));
    let wishes =
        (option::of(select(formats.to_vec())), schedule, duration(), duration(), any::<(Option<u16>, Option<u16>, Option<u8>)>());
    let notes = btree_map(any::<String>(), any::<String>(), 0..3);
    let story = (notes, timestamp(), timestamp(), any::<u64>());
    (base, sealed, wishes, story).prop_map(|(base, sealed, wishes, story)| {
        let (id, app, uid, name, description, event_types, channels, disabled) = base;
        let (host, headers, api_key, secrets) = sealed;
        let (body_format, retry_schedule, timeout, max_age, (throttle_rate, max_in_flight, breaker_percent)) = wishes;
        let (metadata, created_at, updated_at, revision) = story;
        let url = format!("https://user:{host}@example.com/{host}");
        Endpoint {
            id,
            app,
            uid,
            url,
            name,
            description,
            event_types,
            channels,
            disabled,
            headers,
            api_key,
            secrets,
            body_format,
            retry_schedule,
            timeout,
            max_age,
            throttle_rate,
            max_in_flight,
            breaker_percent,
            metadata,
            created_at,
            updated_at,
            revision,
        }
    })
}

proptest! {
    #[test]
    fn an_endpoint_comes_back_the_same_and_its_record_holds_no_secret(endpoint in endpoint()) {
        let text = write_endpoint(&endpoint, &keys(1), &Counting::default()).expect("written");
        let host = endpoint.url.rsplit('/').next().unwrap_or_default();
        let mut hidden = vec![endpoint.url.clone(), host.to_owned()];
        hidden.extend(endpoint.headers.values().cloned());
        hidden.extend(endpoint.api_key.iter().map(|key| key.value.clone()));
        for secret in &endpoint.secrets {
            let revealed = secret.secret.reveal();
            hidden.extend(revealed.split_once('_').map(|(_, base64)| base64.to_owned()));
            hidden.push(revealed);
        }
        for hidden in hidden {
            prop_assert!(!text.contains(&hidden), "{hidden} stands in {text}");
        }
        match read_endpoint(text.as_bytes(), &keys(1)).expect("readable") {
            StoredEndpoint::Present(read) => prop_assert!(*read == endpoint, "it changed on its way: {text}"),
            StoredEndpoint::Deleted(_) => prop_assert!(false, "it is not deleted"),
        }
    }

    #[test]
    fn routing_reads_the_same_subscription_without_a_key(endpoint in endpoint()) {
        let text = write_endpoint(&endpoint, &keys(1), &Counting::default()).expect("written");
        match read_subscription(text.as_bytes()).expect("readable") {
            StoredSubscription::Present(read) => prop_assert_eq!(read, endpoint.subscription()),
            StoredSubscription::Deleted(_) => prop_assert!(false, "it is not deleted"),
        }
    }

    #[test]
    fn a_sealed_value_opens_with_its_own_key_and_endpoint_only(endpoint in endpoint(), other in endpoint_id()) {
        prop_assume!(other != endpoint.id);
        let text = write_endpoint(&endpoint, &keys(1), &Counting::default()).expect("written");
        let wrong_key = read_endpoint(text.as_bytes(), &keys(2));
        prop_assert!(matches!(wrong_key, Err(StoredError::Seal(SealError::UnknownKey(_)))));
        let moved = text.replace(&endpoint.id.to_string(), &other.to_string());
        let wrong_place = read_endpoint(moved.as_bytes(), &keys(1));
        prop_assert!(matches!(wrong_place, Err(StoredError::Seal(SealError::Changed))));
    }

    #[test]
    fn a_tombstone_comes_back_as_one(id in endpoint_id(), at in timestamp()) {
        let text = write_tombstone(id, at).expect("written");
        let read = read_endpoint(text.as_bytes(), &keys(1)).expect("readable");
        prop_assert!(matches!(read, StoredEndpoint::Deleted(when) if when == at));
        let read = read_subscription(text.as_bytes()).expect("readable");
        prop_assert!(matches!(read, StoredSubscription::Deleted(whose) if whose == id));
    }

    #[test]
    fn what_is_no_record_is_an_error(text in ".{0,60}", fields in btree_map("[a-zA-Z]{1,9}", any::<i64>(), 0..4)) {
        let json = serde_json::to_string::<BTreeMap<_, _>>(&fields).expect("JSON");
        for text in [text, json] {
            prop_assert!(read_endpoint(text.as_bytes(), &keys(1)).is_err());
            prop_assert!(read_subscription(text.as_bytes()).is_err());
        }
    }
}
