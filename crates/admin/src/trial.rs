//! Trying an endpoint out: a test before it is saved, a test of a saved one, and an example of an event type.

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use bytes::Bytes;
use hookyard_core::journal::{Entry, MessageRecord};
use hookyard_core::{AppId, AppRef, Delivery, Endpoint, EndpointId, Event, EventType, Message, MessageId, Trigger};
use hookyard_wire::problem::Problem;
use hookyard_wire::reference::{AppPath, EndpointPath, Errors};
use hookyard_wire::request;
use hookyard_wire::shown::MessageOut;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use url::{Origin, Url};
use utoipa::ToSchema;

use crate::api::{Api, Caller, State, fail, object};
use crate::bodies::{ExampleIn, TestIn, UnsavedTestIn};
use crate::clients::is_before_2;
use crate::endpoint_body;
use crate::fields::{self, Body, Fields, Mode};

/// More examples no schema has: its documents are bounded.
const EXAMPLES_MOST: u64 = 65_535;
/// What a test is of, unless the catalog has a sample or the caller says so.
const TEST_TYPE: &str = "hookyard.test";
const TEST_DATA: &str = r#"{"test":true,"message":"A test from Hookyard. If you read this, the endpoint works."}"#;

/// What the receiver did with a test.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestOut {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status_code: Option<u16>,
    duration_ms: u64,
    response: String,
    #[schema(value_type = Vec<Vec<String>>)]
    request_headers: Vec<(String, String)>,
    body: String,
}

/// Tests an endpoint that is not saved: the same fields as when creating one.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint/test",
    operation_id = "test_unsaved_endpoint",
    tag = "Endpoint",
    params(AppPath),
    request_body = UnsavedTestIn,
    responses((status = 200, description = "What the receiver did", body = TestOut), Errors),
)]
pub async fn unsaved(api: State, caller: Caller, Path(app): Path<String>, body: Bytes) -> Result<Json<TestOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let mut fields = Fields::of_ours(object(&body)?);
    let event_type = test_type(&mut fields);
    let endpoint = api.read_new_endpoint(app, fields, None)?;
    Ok(Json(api.test(&endpoint, event_type).await?))
}

/// Tests a saved endpoint, switched off or not, with the changes that are given; those are not saved. At another host, the stored API
/// key and headers are not sent.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/test",
    operation_id = "test_endpoint",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = Option<TestIn>,
    responses((status = 200, description = "What the receiver did", body = TestOut), Errors),
)]
pub async fn saved(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<TestOut>, Problem> {
    let app = api.app(&caller, &app).await?;
    let mut endpoint = api.endpoint(app, &endpoint).await?;
    let given = if body.is_empty() { Body::new() } else { object(&body)? };
    let has_own = ["apiKey", "headers"].map(|field| given.contains_key(field));
    let mut fields = Fields::changes_of_ours(given);
    let event_type = test_type(&mut fields);
    let stored = endpoint.clone();
    endpoint_body::read(&mut endpoint, fields, &api.seams.allow)?;
    if origin(&endpoint.url) != origin(&stored.url) {
        keep_secrets_back(&mut endpoint, &stored, has_own);
    }
    Ok(Json(api.test(&endpoint, event_type).await?))
}

/// Sends the catalog's example of an event type to one endpoint, as a message of its own; it is not retried.
#[utoipa::path(
    post,
    path = "/api/v1/app/{app}/endpoint/{endpoint}/send-example",
    operation_id = "send_example",
    tag = "Endpoint",
    params(EndpointPath),
    request_body = ExampleIn,
    responses((status = 200, description = "The message that was made", body = MessageOut), (status = 202, description = "The same, to an official client of a release before 2.0", body = MessageOut), Errors),
)]
pub async fn send_example(
    api: State,
    caller: Caller,
    Path((app, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<MessageOut>), Problem> {
    let app = api.app(&caller, &app).await?;
    let endpoint = api.endpoint(app, &endpoint).await?.id;
    let mut fields = Fields::new(object(&body)?, Mode::Whole);
    let mut event_type: Option<EventType> = None;
    fields.require("eventType", &mut event_type, |value| fields::parsed(value).map(Some));
    let mut brought = None;
    fields.read_text("payload", &mut brought, |text| Ok(Some(text.clone())));
    let mut index = None;
    fields.read("exampleIndex", &mut index, |value| fields::number(0, EXAMPLES_MOST)(value).map(Some));
    // Some releases send 0 unless told otherwise.
    if brought.is_some() && index.is_some_and(|index| index > 0) {
        fields.wrong("exampleIndex", "there is a payload");
    }
    fields.finish()?;
    let event_type = event_type.ok_or_else(|| Problem::invalid("eventType", "field required"))?;
    let data = match brought {
        Some(brought) => Bytes::from(brought.get().to_owned()),
        None => api.example_data(&event_type, index).await?,
    };
    let message = Arc::new(api.example(app, event_type, data));
    let routed_to: Arc<[EndpointId]> = Arc::from([endpoint]);
    let delivery = Delivery { trigger: Trigger::Resend, ..Delivery::routed(Arc::clone(&message), endpoint, false) };
    api.seams.deliveries.enqueue(vec![delivery]).await.map_err(|fault| fail(&fault))?;
    let record = MessageRecord { message: Arc::clone(&message), routed_to: Some(routed_to) };
    api.seams.journal.record([Entry::Message(record)].into()).await.map_err(|fault| fail(&fault))?;
    let status = if is_before_2(&headers) { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(MessageOut::new(&message, true))))
}

/// Whoever may try a URL is not to see there what is never shown: what was kept for another place is sent only if it is given anew.
fn keep_secrets_back(endpoint: &mut Endpoint, stored: &Endpoint, [has_key, has_headers]: [bool; 2]) {
    if !has_key || endpoint.api_key.as_ref().map(|key| &key.value) == stored.api_key.as_ref().map(|key| &key.value) {
        endpoint.api_key = None;
    }
    if !has_headers {
        endpoint.headers.clear();
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<Origin> {
    Url::parse(url).ok().map(|url| url.origin())
}

/// The event type to test with.
fn test_type(fields: &mut Fields) -> Option<EventType> {
    let mut event_type = None;
    fields.read("testEventType", &mut event_type, |value| fields::parsed(value).map(Some));
    event_type
}

impl Api {
    /// The catalog's sample of a type, or one of the examples in its newest schema.
    async fn example_data(&self, event_type: &EventType, index: Option<u64>) -> Result<Bytes, Problem> {
        let entry = self.seams.catalog.entry(event_type).await.map_err(|fault| fail(&fault))?;
        let in_schema = |index: u64| {
            let mut examples = entry.as_ref()?.newest_schema()?.parts()?.get("examples")?.items()?.into_iter();
            examples.nth(usize::try_from(index).ok()?)
        };
        let sample = || entry.as_ref().and_then(|entry| entry.sample.clone());
        let found = match index {
            None => sample().or_else(|| in_schema(0)),
            Some(0) => in_schema(0).or_else(sample),
            Some(index) => {
                let missing = || Problem::invalid("exampleIndex", "the newest schema has no such example");
                Some(in_schema(index).ok_or_else(missing)?)
            }
        };
        Ok(found.map_or_else(|| Bytes::from_static(TEST_DATA.as_bytes()), |found| Bytes::from(found.get().to_owned())))
    }

    /// A message of this type that no publisher sent.
    fn example(&self, app: AppId, event_type: EventType, data: Bytes) -> Message {
        let now = self.seams.clock.now();
        let event = Event {
            app: AppRef::Id(app),
            id: None,
            message_id: None,
            event_type,
            channels: Vec::new(),
            time: Arc::from(now.to_string()),
            context: None,
            content_type: Arc::from("application/json"),
            data,
            traceparent: None,
            accepted_at: now,
            data_kept: None,
            tags: Vec::new(),
        };
        Message { id: MessageId::new(now, &*self.seams.entropy), app, event: Arc::new(event) }
    }

    /// One request, made now, signed as a delivery would be; nothing is recorded.
    async fn test(&self, endpoint: &Endpoint, event_type: Option<EventType>) -> Result<TestOut, Problem> {
        let invalid = |error: hookyard_core::name::BadName| Problem::invalid("eventType", error.to_string());
        let event_type = match event_type {
            Some(event_type) => event_type,
            None => TEST_TYPE.parse().map_err(invalid)?,
        };
        let data = self.example_data(&event_type, None).await?;
        let message = Arc::new(self.example(endpoint.app, event_type, data));
        let delivery = Delivery::routed(message, endpoint.id, false);
        let (policy, now) = (self.seams.policy.of(endpoint), self.seams.clock.now());
        let style = &self.seams.style;
        let request = request::build(&delivery, endpoint, &policy, style.signature_headers, &style.user_agent, now);
        let request = request.map_err(|fault| fail(&fault))?;
        let (request_headers, body) = (request::shown(&request, endpoint).headers, request.body.clone());
        let result = self.seams.sender.send(request).await.map_err(|fault| fail(&fault))?;
        Ok(TestOut {
            outcome: result.class.as_str(),
            response_status_code: result.status,
            duration_ms: u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX),
            response: String::from_utf8_lossy(&result.response).into_owned(),
            request_headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}
