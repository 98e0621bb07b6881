//! How often each delivery was put aside, as dispatchers in this process log it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Result, ensure};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// What the dispatcher says then.
const PUT_ASIDE: &str = "put aside";

/// From message and endpoint to how often.
type Counts = HashMap<(String, String), usize>;

static COUNTS: OnceLock<Mutex<Counts>> = OnceLock::new();

/// Counts from now on.
///
/// # Errors
/// When somebody else listens to the log of this process.
pub fn count() -> Result<()> {
    if COUNTS.set(Mutex::default()).is_ok() {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Counting.with_filter(LevelFilter::DEBUG)))?;
    }
    ensure!(COUNTS.get().is_some(), "nobody counts");
    Ok(())
}

/// How often each delivery to this endpoint was put aside, of those that were.
pub fn counts(endpoint: &str) -> Vec<usize> {
    let Some(counts) = COUNTS.get() else { return Vec::new() };
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    counts.iter().filter(|((_, at), _)| at == endpoint).map(|(_, count)| *count).collect()
}

struct Counting;

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_meant = fields.said == PUT_ASIDE && event.metadata().target().starts_with("hookyard_dispatcher");
        if let Some(counts) = COUNTS.get().filter(|_| is_meant) {
            *counts.lock().unwrap_or_else(PoisonError::into_inner).entry((fields.id, fields.endpoint)).or_default() += 1;
        }
    }
}

#[derive(Default)]
struct Fields {
    said: String,
    id: String,
    endpoint: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.said = format!("{value:?}"),
            "message_id" => self.id = format!("{value:?}"),
            "endpoint" => self.endpoint = format!("{value:?}"),
            _ => {}
        }
    }
}
