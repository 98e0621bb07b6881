//! Markers: whoever claims an event id first decides which message it is, and what was reached is never taken back.

use futures_util::future::join_all;
use hookyard_core::port::{Directory, Marker, MarkerClaim, MarkerState};
use hookyard_core::{AppId, EventId, MessageId};

use super::{DirectoryBackend, make};
use crate::builders::Builders;

fn claim(make: &Builders, app: AppId, event_id: &str) -> MarkerClaim {
    let message = MessageId::new(make.clock.now(), &*make.entropy);
    let mut content = [0; 16];
    content.copy_from_slice(&message.as_bytes()[4..]);
    let event_id = EventId::parse(event_id).expect("an event id");
    MarkerClaim { app, event_id, proposed: Marker { message, content, state: MarkerState::Claimed } }
}

async fn found(directory: &dyn Directory, claims: &[MarkerClaim]) -> Vec<Option<Marker>> {
    directory.validate(&[], claims).await.expect("answered").markers
}

pub async fn the_first_to_claim_an_event_id_has_it(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = make.app().id;
    let (first, second, other) = (claim(&make, app, "a"), claim(&make, app, "a"), claim(&make, app, "b"));
    assert_eq!(found(&*directory, std::slice::from_ref(&first)).await, [None]);
    let has = Some(first.proposed);
    assert_eq!(found(&*directory, &[second.clone(), other.clone(), second]).await, [has, None, has]);
    assert_eq!(found(&*directory, &[other.clone(), first]).await, [Some(other.proposed), has]);
    // Twice in one batch: the first of them is first.
    let (one, two) = (claim(&make, app, "c"), claim(&make, app, "c"));
    assert_eq!(found(&*directory, &[one.clone(), two]).await, [None, Some(one.proposed)]);
    // Ids are compared whole.
    let (long, longer) = (claim(&make, app, &"x".repeat(1_023)), claim(&make, app, &"x".repeat(1_024)));
    assert_eq!(found(&*directory, &[long, longer]).await, [None, None]);
}

pub async fn looking_at_a_marker_claims_nothing(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let claim = claim(&make, make.app().id, "a");
    let look = async || directory.marker(claim.app, &claim.event_id).await.expect("answered");
    assert_eq!(look().await, None);
    assert_eq!(found(&*directory, std::slice::from_ref(&claim)).await, [None]);
    assert_eq!(look().await, Some(claim.proposed));
    assert_eq!(directory.marker(make.app().id, &claim.event_id).await.expect("answered"), None, "of another application");
}

pub async fn markers_of_applications_are_apart(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let (one, other) = (claim(&make, make.app().id, "a"), claim(&make, make.app().id, "a"));
    assert_eq!(found(&*directory, &[one.clone(), other.clone()]).await, [None, None]);
    directory.mark(std::slice::from_ref(&one), MarkerState::Routed).await.expect("marked");
    let routed = Marker { state: MarkerState::Routed, ..one.proposed };
    assert_eq!(found(&*directory, &[one, other.clone()]).await, [Some(routed), Some(other.proposed)]);
}

pub async fn markers_never_go_back(backend: &dyn DirectoryBackend) {
    use MarkerState::{Accepted, Claimed, Routed};
    let (directory, make) = (backend.directory(), make());
    let app = make.app().id;
    directory.mark(&[], Routed).await.expect("marked");
    // Whatever comes in whatever order, the highest that came is what is there.
    let orders: [&[MarkerState]; 7] = [
        &[Claimed],
        &[Accepted, Claimed],
        &[Routed, Accepted],
        &[Routed, Claimed],
        &[Accepted, Routed, Accepted],
        &[Accepted, Accepted],
        &[Routed, Routed, Claimed],
    ];
    for (number, order) in orders.into_iter().enumerate() {
        for is_claimed in [true, false] {
            // A marker that was lost, or never claimed, is made by whoever marks it.
            let claim = claim(&make, app, &format!("{number} {is_claimed}"));
            let claims = std::slice::from_ref(&claim);
            if is_claimed {
                assert_eq!(found(&*directory, claims).await, [None]);
            }
            for state in order {
                directory.mark(claims, *state).await.expect("marked");
            }
            let highest = order.iter().copied().max_by_key(|state| *state as u8).expect("not empty");
            assert_eq!(found(&*directory, claims).await, [Some(Marker { state: highest, ..claim.proposed })], "{order:?}");
            assert_eq!(
                found(&*directory, claims).await,
                [Some(Marker { state: highest, ..claim.proposed })],
                "claiming changes nothing"
            );
        }
    }
}

pub async fn of_many_who_claim_at_once_one_is_first(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = make.app().id;
    for round in 0..10 {
        let claims: Vec<[MarkerClaim; 1]> = (0..10).map(|_| [claim(&make, app, &round.to_string())]).collect();
        let answers = join_all(claims.iter().map(|claim| directory.validate(&[], claim))).await;
        let markers: Vec<Option<Marker>> = answers.into_iter().map(|answer| answer.expect("answered").markers[0]).collect();
        let first: Vec<usize> = (0..10).filter(|n| markers[*n].is_none()).collect();
        assert_eq!(first.len(), 1, "{markers:?}");
        let others = markers.iter().flatten();
        assert!(others.into_iter().all(|marker| *marker == claims[first[0]][0].proposed), "the others learn of the first");
    }
}
