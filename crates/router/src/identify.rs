//! Which message id an event gets, and whether it is one we know: pure.

use hookyard_core::MessageId;
use hookyard_core::port::{Marker, MarkerState};

/// What the marker of an event id says of this event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody was here before: this message id is its own.
    First(MessageId),
    /// Somebody began with it; whether anything was sent is unknown.
    Again(MessageId),
    /// Every delivery of it is durable: nothing is left to do.
    Duplicate,
    /// The id is known with other content.
    Conflict,
}

/// Judges what was found under an event id. `proposed` is what we would have written; an event that intake over HTTP accepted
/// proposes the message id it was given there, and finds that marker.
pub fn identify(proposed: &Marker, found: Option<&Marker>) -> Identity {
    match found {
        None => Identity::First(proposed.message),
        // Begun with other content and never finished: nobody was told that it is known.
        Some(found) if found.content != proposed.content && found.state == MarkerState::Claimed => {
            Identity::First(proposed.message)
        }
        Some(found) if found.content != proposed.content => Identity::Conflict,
        Some(Marker { state: MarkerState::Routed, .. }) => Identity::Duplicate,
        Some(found) if found.state == MarkerState::Accepted && found.message == proposed.message => {
            Identity::First(found.message)
        }
        Some(found) => Identity::Again(found.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(message: u8, content: u8, state: MarkerState) -> Marker {
        Marker { message: MessageId::from_bytes([message; 20]), content: [content; 16], state }
    }

    #[test]
    fn only_routed_suppresses_and_other_content_conflicts_with_what_is_known() {
        let ours = marker(1, 1, MarkerState::Claimed);
        let (first, theirs) = (MessageId::from_bytes([1; 20]), MessageId::from_bytes([2; 20]));
        assert_eq!(identify(&ours, None), Identity::First(first));
        assert_eq!(identify(&ours, Some(&marker(2, 1, MarkerState::Claimed))), Identity::Again(theirs));
        assert_eq!(identify(&ours, Some(&marker(2, 1, MarkerState::Accepted))), Identity::Again(theirs));
        assert_eq!(identify(&ours, Some(&marker(2, 1, MarkerState::Routed))), Identity::Duplicate);
        assert_eq!(identify(&ours, Some(&marker(2, 2, MarkerState::Claimed))), Identity::First(first));
        for state in [MarkerState::Accepted, MarkerState::Routed] {
            assert_eq!(identify(&ours, Some(&marker(2, 2, state))), Identity::Conflict);
        }
    }

    #[test]
    fn an_event_accepted_over_http_finds_its_own_marker() {
        let ours = marker(1, 1, MarkerState::Claimed);
        let found = marker(1, 1, MarkerState::Accepted);
        assert_eq!(identify(&ours, Some(&found)), Identity::First(found.message));
    }
}
