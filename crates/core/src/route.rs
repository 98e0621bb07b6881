//! The route: which endpoints an event goes to. An index over one application's endpoints, so that matching one event costs what
//! it matches and not what exists.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::event::Event;
use crate::id::EndpointId;
use crate::name::{Channel, EventPattern, EventType};

/// What routing needs to know of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Types it wants; empty means every type.
    pub event_types: Vec<EventPattern>,
    /// Channels it is narrowed to; empty means it does not look at channels.
    pub channels: Vec<Channel>,
    /// Whether it receives anything at all.
    pub active: bool,
}

impl Subscription {
    /// The routing rule, stated once and plainly. [`Subscriptions::route`] must agree with it.
    pub fn wants(&self, event_type: &EventType, channels: &[Channel]) -> bool {
        self.active
            && (self.event_types.is_empty() || self.event_types.iter().any(|pattern| pattern.matches(event_type)))
            && (self.channels.is_empty() || self.channels.iter().any(|channel| channels.contains(channel)))
    }
}

/// Which types a bucket holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Selector {
    Exact(EventType),
    Prefix(Arc<str>),
}

/// The endpoints of one application, indexed by what they subscribed to.
///
/// Each endpoint sits in one bucket per (pattern, channel); an event looks only into the buckets that its type, the prefixes of
/// its type and its channels name.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    known: HashMap<EndpointId, Subscription>,
    buckets: HashMap<(Selector, Option<Channel>), Vec<EndpointId>>,
    /// Lengths of the prefixes in use, with how many bucket entries use each: lookups try only these.
    prefix_lengths: BTreeMap<usize, usize>,
}

impl Subscriptions {
    /// An index of these.
    pub fn new(subscriptions: impl IntoIterator<Item = Subscription>) -> Self {
        let mut index = Self::default();
        for subscription in subscriptions {
            index.put(subscription);
        }
        index
    }

    /// Endpoints known, active or not.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no endpoint is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Adds an endpoint or replaces what was known of it.
    pub fn put(&mut self, subscription: Subscription) {
        self.remove(subscription.endpoint);
        if subscription.active {
            for key in keys(&subscription) {
                if let Selector::Prefix(prefix) = &key.0 {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                }
                self.buckets.entry(key).or_default().push(subscription.endpoint);
            }
        }
        self.known.insert(subscription.endpoint, subscription);
    }

    /// Forgets an endpoint.
    pub fn remove(&mut self, endpoint: EndpointId) {
        let Some(old) = self.known.remove(&endpoint) else { return };
        if !old.active {
            return;
        }
        for key in keys(&old) {
            if let Selector::Prefix(prefix) = &key.0
                && let Some(users) = self.prefix_lengths.get_mut(&prefix.len())
            {
                *users -= 1;
                if *users == 0 {
                    self.prefix_lengths.remove(&prefix.len());
                }
            }
            if let Some(bucket) = self.buckets.get_mut(&key) {
                bucket.retain(|member| *member != endpoint);
                if bucket.is_empty() {
                    self.buckets.remove(&key);
                }
            }
        }
    }

    /// The endpoints this event goes to, sorted, each once.
    pub fn route(&self, event: &Event) -> Vec<EndpointId> {
        let event_type = event.event_type.as_str();
        let exact = std::iter::once(Selector::Exact(event.event_type.clone()));
        let prefixes = self.prefix_lengths.keys().filter(|length| **length <= event_type.len());
        let selectors = exact.chain(prefixes.map(|length| Selector::Prefix(Arc::from(&event_type[..*length]))));
        let mut found = Vec::new();
        for selector in selectors {
            let mut key = (selector, None);
            found.extend(self.buckets.get(&key).into_iter().flatten());
            for channel in &event.channels {
                key.1 = Some(channel.clone());
                found.extend(self.buckets.get(&key).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The buckets an endpoint sits in, each once.
fn keys(subscription: &Subscription) -> Vec<(Selector, Option<Channel>)> {
    let mut patterns = subscription.event_types.clone();
    if patterns.is_empty() {
        patterns.push(EventPattern::Prefix(Arc::from("")));
    }
    patterns.sort();
    patterns.dedup();
    let mut channels: Vec<Option<Channel>> = subscription.channels.iter().cloned().map(Some).collect();
    if channels.is_empty() {
        channels.push(None);
    }
    channels.sort();
    channels.dedup();
    let mut keys = Vec::with_capacity(patterns.len() * channels.len());
    for pattern in patterns {
        let selector = match pattern {
            EventPattern::Exact(exact) => Selector::Exact(exact),
            EventPattern::Prefix(prefix) => Selector::Prefix(prefix),
        };
        keys.extend(channels.iter().map(|channel| (selector.clone(), channel.clone())));
    }
    keys
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::event::{Admission, Submission, admit};

    fn event(event_type: &str, channels: Vec<String>) -> Event {
        let submission =
            Submission { event_type: Some(event_type.into()), channels, data: Bytes::new(), ..Submission::default() };
        admit(submission, &Admission { max_bytes: 1, require_id: false }, Timestamp::default()).expect("admitted")
    }

    fn any_subscription() -> impl Strategy<Value = Subscription> {
        // A small alphabet, so that endpoints and events really meet.
        (0_u8..12, vec("(a|b)(\\.(a|b)){0,2}\\*?|\\*", 0..4), vec("[xyz]", 0..3), prop::bool::weighted(0.8)).prop_map(
            |(id, types, channels, active)| Subscription {
                endpoint: EndpointId::from_bytes([id; 20]),
                event_types: types.iter().map(|t| t.parse().expect("pattern")).collect(),
                channels: channels.iter().map(|c| c.parse().expect("channel")).collect(),
                active,
            },
        )
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_the_rule_after_any_edits(
            edits in vec((any_subscription(), prop::bool::weighted(0.2)), 0..40),
            event_type in "(a|b)(\\.(a|b)){0,3}",
            channels in vec("[xyz]", 0..3),
        ) {
            let mut index = Subscriptions::default();
            let mut model: BTreeMap<EndpointId, Subscription> = BTreeMap::new();
            for (subscription, deleted) in edits {
                if deleted {
                    index.remove(subscription.endpoint);
                    model.remove(&subscription.endpoint);
                } else {
                    index.put(subscription.clone());
                    model.insert(subscription.endpoint, subscription);
                }
            }
            let event = event(&event_type, channels);
            let expected: Vec<EndpointId> =
                model.values().filter(|s| s.wants(&event.event_type, &event.channels)).map(|s| s.endpoint).collect();
            prop_assert_eq!(index.route(&event), expected);
            for endpoint in model.keys() {
                index.remove(*endpoint);
            }
            prop_assert!(index.is_empty() && index.buckets.is_empty() && index.prefix_lengths.is_empty());
        }
    }

    #[test]
    fn an_event_without_channels_never_reaches_an_endpoint_with_channels() {
        let narrowed = Subscription {
            endpoint: EndpointId::from_bytes([1; 20]),
            event_types: vec![],
            channels: vec!["client_1".parse().expect("valid")],
            active: true,
        };
        let index = Subscriptions::new([narrowed]);
        assert_eq!(index.route(&event("user.created", vec![])), []);
        assert_eq!(index.route(&event("user.created", vec!["client_1".into(), "eu".into()])).len(), 1);
    }
}
