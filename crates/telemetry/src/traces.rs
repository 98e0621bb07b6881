//! Traces: one from a publish through its routing to each attempt (W3C Trace Context, OpenTelemetry).
//!
//! Spans are made where a step begins and ends, with its own times, and not around every function: what nobody exports costs nothing.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookyard_core::Timestamp;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, Tracer};

pub use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};

/// Who makes spans.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Exporting>>);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: Tracer,
}

/// A step of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// An event is accepted over HTTP.
    Publish,
    /// An event is made into deliveries.
    Route,
    /// A delivery is attempted.
    Attempt,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Route => "route",
            Self::Attempt => "attempt",
        }
    }

    const fn kind(self) -> SpanKind {
        match self {
            Self::Publish => SpanKind::Server,
            Self::Route => SpanKind::Consumer,
            Self::Attempt => SpanKind::Client,
        }
    }
}

/// A step that goes on; if nobody exports, nothing.
#[derive(Default)]
pub struct Open(Option<Span>);

impl Traces {
    /// Exports over OTLP (HTTP, protobuf) by `client`, to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; the other variables of
    /// OpenTelemetry count, too: `OTEL_TRACES_SAMPLER`, `OTEL_RESOURCE_ATTRIBUTES`.
    ///
    /// # Errors
    /// When one of them is wrong.
    pub fn exporting(client: impl HttpClient + 'static) -> Result<Self, opentelemetry_otlp::ExporterBuildError> {
        let exporter =
            SpanExporter::builder().with_http().with_http_client(client).with_protocol(Protocol::HttpBinary).build()?;
        let resource = Resource::builder()
            .with_service_name("hookyard")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let tracer = provider.tracer("hookyard");
        Ok(Self(Some(Arc::new(Exporting { provider, tracer }))))
    }

    /// Begins a step of this moment, behind the one that `parent` names in the form of a `traceparent`; without one, a trace begins.
    pub fn begin(&self, stage: Stage, parent: Option<&str>, at: Timestamp) -> Open {
        let Some(exporting) = &self.0 else { return Open::default() };
        let parent = parent.and_then(parse).map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let builder = exporting.tracer.span_builder(stage.name()).with_kind(stage.kind()).with_start_time(system_time(at));
        Open(Some(builder.start_with_context(&exporting.tracer, &parent)))
    }

    /// Sends what was not sent yet.
    pub fn flush(&self) {
        if let Some(exporting) = &self.0
            && let Err(error) = exporting.provider.force_flush()
        {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

impl Open {
    /// What the next step is to name as its parent.
    pub fn traceparent(&self) -> Option<Arc<str>> {
        let context = self.0.as_ref()?.span_context();
        let flags = context.trace_flags().to_u8();
        Some(Arc::from(format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())))
    }

    /// Says something of it: an id or a class, never a payload.
    pub fn say(&mut self, name: &'static str, value: impl std::fmt::Display) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value.to_string()));
        }
    }

    /// It ended then; with what was wrong, if something was.
    pub fn end(mut self, at: Timestamp, wrong: Option<&'static str>) {
        if let Some(span) = &mut self.0 {
            if let Some(wrong) = wrong {
                span.set_status(Status::error(wrong));
            }
            span.end_with_timestamp(system_time(at));
        }
    }
}

/// Reads a `traceparent` of version 00; admission has let no other pass.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-').skip(1);
    let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    Some(SpanContext::new(TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?, flags, true, TraceState::NONE))
}

fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_exports_says_nothing() {
        let mut open = Traces::default().begin(Stage::Route, None, Timestamp::from_millis(1));
        assert_eq!(open.traceparent(), None);
        open.say("id", 1);
        open.end(Timestamp::from_millis(2), None);
    }

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let read = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("one");
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(read.is_sampled() && read.is_remote());
        assert!(parse("00-xyz").is_none());
    }
}
