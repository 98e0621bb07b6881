//! The suite of [`hookyard_core::port::Directory`].

mod markers;
mod names;
mod records;
mod versions;

use std::sync::Arc;

use async_trait::async_trait;
use hookyard_core::port::{Directory, EndpointRef, Expect, Written};
use hookyard_core::{AppRef, Application, Endpoint, Fault, FaultKind};

use super::suite;
use crate::builders::{Builders, StepClock};
use crate::conformance::lists::newest;

suite! { $ each_promise_of_directory: directory on DirectoryBackend,
    an_application_is_read_back_as_it_was_written in records,
    an_endpoint_is_read_back_as_it_was_written in records,
    revision_conflicts_are_told in records,
    of_writers_who_expect_the_same_revision_one_wins in records,
    a_deleted_endpoint_leaves_a_tombstone_and_an_unknown_one_is_absent in records,
    a_deleted_application_takes_everything_with_it in records,
    what_was_deleted_is_not_written_again in records,
    endpoints_are_found_in_the_order_asked_as_they_are_now in records,
    applications_page_in_both_directions_without_gaps in records,
    endpoints_page_in_both_directions_without_gaps in records,
    a_uid_belongs_to_one in names,
    a_uid_can_be_given_up_and_taken in names,
    names_resolve_in_the_order_asked in names,
    names_move_when_one_does_and_only_then in names,
    a_change_is_seen_by_the_next_validate in versions,
    only_what_changed_is_read_again in versions,
    a_write_that_was_refused_changes_nothing in versions,
    an_application_switched_off_is_told in versions,
    an_unknown_or_deleted_application_is_gone in versions,
    what_a_store_does_not_know_any_more_is_read_anew in versions,
    whoever_follows_the_changes_ends_where_the_store_is in versions,
    a_router_that_was_away_for_long_catches_up in versions,
    the_first_to_claim_an_event_id_has_it in markers,
    looking_at_a_marker_claims_nothing in markers,
    markers_of_applications_are_apart in markers,
    markers_never_go_back in markers,
    of_many_who_claim_at_once_one_is_first in markers,
    an_emptied_store_is_never_believed,
}

/// A backend of the directory, with what a test needs and no service has.
#[async_trait]
pub trait DirectoryBackend: Send + Sync {
    /// The directory.
    fn directory(&self) -> Arc<dyn Directory>;

    /// Loses everything that is stored, as an accident would.
    async fn empty(&self);
}

async fn an_emptied_store_is_never_believed(backend: &dyn DirectoryBackend) {
    let (directory, make) = (backend.directory(), make());
    let app = put_app(&*directory, make.app()).await;
    let endpoint = put_endpoint(&*directory, make.endpoint(app.id)).await;
    let (by_id, named) = (EndpointRef::Id(endpoint.id), EndpointRef::Uid("u".parse().expect("a uid")));
    backend.empty().await;

    assert_wrong(directory.validate(&[], &[]).await, "validate");
    assert_wrong(directory.validate(&[versions::remembered(app.id, None)], &[]).await, "validate");
    assert_wrong(directory.look_up(&[(app.id, endpoint.id)]).await, "look_up");
    assert_wrong(directory.resolve(&[AppRef::Id(app.id)]).await, "resolve");
    assert_wrong(directory.app(app.id).await, "app");
    assert_wrong(directory.apps(newest(5)).await, "apps");
    assert_wrong(directory.endpoint(app.id, &by_id).await, "endpoint");
    assert_wrong(directory.endpoint(app.id, &named).await, "endpoint");
    assert_wrong(directory.endpoints(app.id, newest(5)).await, "endpoints");
    // Nothing is built on the ruins either.
    let now = make.clock.now();
    assert_wrong(directory.put_app(&make.app(), Expect::New).await, "put_app");
    assert_wrong(directory.put_endpoint(&make.endpoint(app.id), Expect::New).await, "put_endpoint");
    assert_wrong(directory.delete_endpoint(app.id, endpoint.id, now).await, "delete_endpoint");
    assert_wrong(directory.delete_app(app.id, now).await, "delete_app");
}

fn assert_wrong<T>(result: Result<T, Fault>, method: &str) {
    match result {
        Ok(_) => panic!("{method} answered from an emptied store"),
        Err(fault) => assert_eq!(fault.kind, FaultKind::WrongDataset, "{method}: {}", fault.chain()),
    }
}

fn make() -> Builders {
    Builders::new(Arc::new(StepClock::default()), 1)
}

/// Stores a new application: as it is stored.
async fn put_app(directory: &dyn Directory, app: Application) -> Application {
    assert_eq!(directory.put_app(&app, Expect::New).await.expect("answered"), Written::Done(1));
    Application { revision: 1, ..app }
}

/// Stores a new endpoint: as it is stored.
async fn put_endpoint(directory: &dyn Directory, endpoint: Endpoint) -> Endpoint {
    assert_eq!(directory.put_endpoint(&endpoint, Expect::New).await.expect("answered"), Written::Done(1));
    Endpoint { revision: 1, ..endpoint }
}

/// Replaces a stored endpoint: as it is stored then.
async fn replace_endpoint(directory: &dyn Directory, endpoint: Endpoint) -> Endpoint {
    let expect = Expect::Revision(endpoint.revision);
    let written = directory.put_endpoint(&endpoint, expect).await.expect("answered");
    assert_eq!(written, Written::Done(endpoint.revision + 1));
    Endpoint { revision: endpoint.revision + 1, ..endpoint }
}

/// Replaces a stored application: as it is stored then.
async fn replace_app(directory: &dyn Directory, app: Application) -> Application {
    let written = directory.put_app(&app, Expect::Revision(app.revision)).await.expect("answered");
    assert_eq!(written, Written::Done(app.revision + 1));
    Application { revision: app.revision + 1, ..app }
}
