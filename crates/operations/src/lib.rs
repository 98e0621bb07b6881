//! What happens in the installation itself, told as ordinary events of an application of its own, to which anyone may subscribe an
//! endpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::event::EventId;
use hookyard_core::journal::PageRequest;
use hookyard_core::port::{Directory, Events};
use hookyard_core::{
    AppId, AppRef, Clock, DeadReason, Delivery, Endpoint, EndpointId, Entropy, Event, Fault, FaultKind, MessageId, Timestamp,
};
use serde_json::{Value, json};

/// The application's uid. It exists from the start.
pub const OPERATIONS_UID: &str = "hookyard-operations";
/// How long it is believed whether anybody listens.
const HEARD_FOR: Duration = Duration::from_secs(3);

/// Why an endpoint was disabled by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisabledBecause {
    /// Its receiver answered 410.
    Gone,
    /// Its receiver asked for it, with the response header `webhook-delivery`.
    Asked,
    /// It took nothing since then.
    NoSuccess(Timestamp),
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// An endpoint was created.
    WebhookCreated(&'a Endpoint),
    /// An endpoint was changed.
    WebhookUpdated(&'a Endpoint),
    /// An endpoint was deleted.
    WebhookDeleted(&'a Endpoint),
    /// An endpoint was disabled by itself.
    EndpointDisabled(&'a Endpoint, DisabledBecause),
    /// The breaker of an endpoint opened.
    EndpointFailing(&'a Endpoint),
    /// An endpoint took nothing for long.
    EndpointWarned {
        /// The endpoint.
        endpoint: &'a Endpoint,
        /// Since then.
        since: Timestamp,
        /// It will be disabled then.
        disabled_at: Timestamp,
    },
    /// The breaker of an endpoint closed.
    EndpointRecovered(&'a Endpoint),
    /// A delivery will not be tried again.
    DeliveryDeadLettered {
        /// The delivery.
        delivery: &'a Delivery,
        /// Why.
        reason: DeadReason,
    },
}

impl Notice<'_> {
    fn event_type(&self) -> &'static str {
        match self {
            Self::WebhookCreated(_) => "webhook.created",
            Self::WebhookUpdated(_) => "webhook.updated",
            Self::WebhookDeleted(_) => "webhook.deleted",
            Self::EndpointDisabled(..) => "endpoint.disabled",
            Self::EndpointFailing(_) | Self::EndpointWarned { .. } => "endpoint.failing",
            Self::EndpointRecovered(_) => "endpoint.recovered",
            Self::DeliveryDeadLettered { .. } => "delivery.dead_lettered",
        }
    }

    /// Whom it is about.
    fn app(&self) -> AppId {
        match self {
            Self::WebhookCreated(endpoint)
            | Self::WebhookUpdated(endpoint)
            | Self::WebhookDeleted(endpoint)
            | Self::EndpointDisabled(endpoint, _)
            | Self::EndpointFailing(endpoint)
            | Self::EndpointWarned { endpoint, .. }
            | Self::EndpointRecovered(endpoint) => endpoint.app,
            Self::DeliveryDeadLettered { delivery, .. } => delivery.message.app,
        }
    }

    /// What may be told twice has an id of its own, under which the second is a duplicate.
    fn id(&self) -> Option<String> {
        match self {
            Self::DeliveryDeadLettered { delivery, .. } => {
                Some(format!("dead:{}:{}:{}", delivery.message.id, delivery.endpoint, delivery.run))
            }
            _ => None,
        }
    }

    /// Ids, and never a URL, a header or a payload: those may hold what its reader is not to know.
    fn data(&self) -> Value {
        let of = |endpoint: &Endpoint, more: Value| {
            let mut data = json!({"appId": endpoint.app, "endpointId": endpoint.id});
            if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
                data.extend(endpoint.uid.as_ref().map(|uid| ("endpointUid".to_owned(), json!(uid.as_str()))));
                data.extend(more);
            }
            data
        };
        match self {
            Self::WebhookCreated(endpoint) | Self::WebhookUpdated(endpoint) | Self::WebhookDeleted(endpoint) => {
                let channels: Vec<_> = endpoint.channels.iter().map(ToString::to_string).collect();
                let types: Vec<_> = endpoint.event_types.iter().map(ToString::to_string).collect();
                let more =
                    json!({"name": endpoint.name, "disabled": endpoint.disabled, "eventTypes": types, "channels": channels});
                of(endpoint, more)
            }
            Self::EndpointDisabled(endpoint, because) => of(
                endpoint,
                match because {
                    DisabledBecause::Gone => json!({"reason": "gone"}),
                    DisabledBecause::Asked => json!({"reason": "asked"}),
                    DisabledBecause::NoSuccess(since) => json!({"reason": "no_success", "failingSince": since.to_string()}),
                },
            ),
            Self::EndpointFailing(endpoint) => of(endpoint, json!({"reason": "breaker_open"})),
            Self::EndpointWarned { endpoint, since, disabled_at } => {
                let (since, disabled_at) = (since.to_string(), disabled_at.to_string());
                of(endpoint, json!({"reason": "no_success", "failingSince": since, "disabledAt": disabled_at}))
            }
            Self::EndpointRecovered(endpoint) => of(endpoint, json!({})),
            Self::DeliveryDeadLettered { delivery, reason } => json!({
                "appId": delivery.message.app,
                "endpointId": delivery.endpoint,
                "messageId": delivery.message.id,
                "eventType": delivery.message.event.event_type.as_str(),
                "run": delivery.run,
                "reason": reason.as_str(),
            }),
        }
    }
}

/// Tells what happened.
pub struct Operations {
    events: Arc<dyn Events>,
    directory: Arc<dyn Directory>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    heard: Mutex<Option<Heard>>,
}

/// Who listened, when it was last asked.
#[derive(Clone, Copy)]
struct Heard {
    asked_at: Timestamp,
    app: Option<AppId>,
}

impl Operations {
    /// Publishes by `events`.
    pub fn new(events: Arc<dyn Events>, directory: Arc<dyn Directory>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { events, directory, clock, entropy, heard: Mutex::default() }
    }

    /// Tells a notice, if anybody listens. What happens to the listeners themselves is not told: that would never end.
    pub async fn tell(&self, notice: Notice<'_>) -> Result<(), Fault> {
        let app = match self.listening().await {
            Some(app) if app != notice.app() => app,
            _ => return Ok(()),
        };
        self.events.accept(&self.event(app, notice)?).await
    }

    /// Tells a notice; if that fails, only the log says so.
    pub async fn mention(&self, notice: Notice<'_>) {
        if let Err(fault) = self.tell(notice).await {
            tracing::warn!(event_type = notice.event_type(), error = fault.chain(), "an operational event was not published");
        }
    }

    fn event(&self, app: AppId, notice: Notice<'_>) -> Result<Event, Fault> {
        let now = self.clock.now();
        let event_type = notice.event_type().parse();
        Ok(Event {
            app: AppRef::Id(app),
            id: EventId::parse(&notice.id().unwrap_or_else(|| MessageId::new(now, &*self.entropy).to_string())),
            message_id: None,
            event_type: event_type.map_err(|error| Fault::caused(FaultKind::Refused, "tell what happened", error))?,
            channels: Vec::new(),
            time: Arc::from(now.to_string()),
            context: None,
            content_type: Arc::from("application/json"),
            data: Bytes::from(notice.data().to_string()),
            traceparent: None,
            accepted_at: now,
            data_kept: None,
            tags: Vec::new(),
        })
    }

    /// The application, if it has an endpoint. While nobody can say, it is as it was.
    async fn listening(&self) -> Option<AppId> {
        let now = self.clock.now();
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = heard.filter(|heard| now.since(heard.asked_at) < HEARD_FOR) {
            return heard.app;
        }
        let app = self.ask().await.unwrap_or_else(|fault| {
            tracing::debug!(error = fault.chain(), "nobody can say who listens to operational events");
            heard.and_then(|heard| heard.app)
        });
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { asked_at: now, app });
        app
    }

    async fn ask(&self) -> Result<Option<AppId>, Fault> {
        let Ok(named) = OPERATIONS_UID.parse::<AppRef>() else { return Ok(None) };
        let Some(app) = self.directory.resolve(&[named]).await?.apps.first().copied().flatten() else { return Ok(None) };
        let page: PageRequest<EndpointId> = PageRequest { from: None, limit: 1 };
        let is_heard = !self.directory.endpoints(app, page).await?.items.is_empty();
        Ok(is_heard.then_some(app))
    }
}
