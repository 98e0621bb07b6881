//! An application that comes along with its first message.

use std::collections::BTreeMap;

use bytes::Bytes;
use hookyard_core::port::{Expect, Written};
use hookyard_core::{AppId, AppRef, Application, Uid, limits};
use hookyard_wire::problem::Problem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::accept::Intake;

/// Longest name: what fits a list on a screen, and then some.
const NAME_BYTES: usize = 1024;

#[derive(Deserialize)]
struct Carrier<'a> {
    #[serde(borrow)]
    application: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Brought {
    name: String,
    uid: Option<Uid>,
    #[serde(alias = "rateLimit")]
    throttle_rate: Option<std::num::NonZeroU16>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

/// Creates the application that the message in `body` brings along, under the name it is published to.
pub async fn create(intake: &Intake, named: AppRef, body: &Bytes) -> Result<AppId, Problem> {
    // What is wrong with the message itself is told when it is read.
    let carrier: Option<Carrier<'_>> = serde_json::from_slice(body).ok();
    let (Some(Carrier { application: Some(brought) }), AppRef::Uid(uid)) = (carrier, named) else { return Err(none()) };
    let brought: Brought =
        serde_json::from_str(brought.get()).map_err(|error| Problem::invalid("application", error.to_string()))?;
    if brought.uid.as_ref().is_some_and(|own| *own != uid) {
        return Err(Problem::invalid("application", "its uid is not the one this is published to"));
    }
    let metadata_bytes: usize = brought.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if brought.name.is_empty() || brought.name.len() > NAME_BYTES || metadata_bytes > limits::METADATA_BYTES {
        return Err(Problem::invalid("application", "its name is empty or too long, or its metadata too much"));
    }
    let now = intake.seams.clock.now();
    let app = Application {
        id: AppId::new(now, &*intake.seams.entropy),
        uid: Some(uid.clone()),
        name: brought.name,
        disabled: false,
        throttle_rate: brought.throttle_rate.map(Into::into),
        metadata: brought.metadata,
        created_at: now,
        updated_at: now,
        revision: 0,
    };
    let fail = |fault| Problem::from(&fault);
    if let Written::Done(_) = intake.seams.directory.put_app(&app, Expect::New).await.map_err(fail)? {
        return Ok(app.id);
    }
    // Somebody was faster: theirs it is.
    let resolved = intake.seams.directory.resolve(&[AppRef::Uid(uid)]).await.map_err(fail)?;
    resolved.apps.first().copied().flatten().ok_or_else(none)
}

/// There is none.
pub fn none() -> Problem {
    Problem::not_found("there is no such application")
}
