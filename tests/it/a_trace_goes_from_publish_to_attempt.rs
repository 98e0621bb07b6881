//! One trace from the publish through the routing to each attempt, exported over OTLP to a collector.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use hookyard_e2e::process::{await_ready, free_address, program};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::{Api, Backend, World, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::json;

on_both_backends! {
    each_attempt_is_in_the_publishers_trace;
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

type Spans = Arc<Mutex<Vec<Span>>>;

/// A collector that keeps what it gets.
async fn collector() -> Result<(String, Spans)> {
    let spans = Spans::default();
    let take = async |State(spans): State<Spans>, body: Bytes| {
        let request = ExportTraceServiceRequest::decode(body).unwrap_or_default();
        let scopes = request.resource_spans.into_iter().flat_map(|of| of.scope_spans);
        spans.lock().unwrap_or_else(PoisonError::into_inner).extend(scopes.flat_map(|of| of.spans));
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok((address, spans))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

async fn each_attempt_is_in_the_publishers_trace(backend: Backend) -> Result<()> {
    let world =
        World::on_with(backend, |hit, earlier| Answer::Status(if hit.path == "/twice" && earlier < 2 { 503 } else { 204 }))
            .await?;
    let (collector, spans) = collector().await?;
    let (address, ops) = (free_address()?, free_address()?);
    let mut command = Command::new(program("hookyard")?);
    command.arg("run").envs(world.environment()).env("HOOKYARD_LISTEN", address.to_string());
    command.env("HOOKYARD_OPS_LISTEN", ops.to_string());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector).env("OTEL_BSP_SCHEDULE_DELAY", "200");
    let mut running = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let api = Api::at(&format!("http://{address}"), "admin")?;
    await_ready(ops).await?;
    for path in ["/ok", "/twice"] {
        api.endpoint("default", &world.receiver.url(path), json!({})).await?;
    }
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let is_over_amqp = backend == Backend::Cluster;
    if is_over_amqp {
        let data = br#"{"password": "secret-in-payload"}"#;
        world.amqp().await?.raw("traced.kind", "one", &[("traceparent", &traceparent)], data).await?;
    } else {
        let (url, token) = api.place();
        let client = reqwest::Client::builder().no_proxy().build()?;
        let body = json!({"eventType": "traced.kind", "payload": {"password": "secret-in-payload"}});
        let post = client.post(format!("{url}/api/v1/app/default/msg")).bearer_auth(token).header("traceparent", &traceparent);
        post.json(&body).send().await?.error_for_status()?;
    }
    let all = || spans.lock().unwrap_or_else(PoisonError::into_inner).clone();
    eventually("four attempts are told", async || all().iter().filter(|span| span.name == "attempt").count() == 4).await?;
    // What was not sent yet is sent at the end.
    ensure!(Command::new("kill").args(["-TERM", &running.id().to_string()]).status()?.success());
    ensure!(running.wait()?.success(), "it did not end well");

    let spans = all();
    let mut by_name: HashMap<&str, Vec<&Span>> = HashMap::new();
    for span in &spans {
        ensure!(hex(&span.trace_id) == TRACE, "{} is in another trace", span.name);
        ensure!(span.end_time_unix_nano >= span.start_time_unix_nano, "{} ended before it began", span.name);
        ensure!(!format!("{span:?}").contains("secret"), "{span:?}");
        by_name.entry(&span.name).or_default().push(span);
    }
    let [route] = by_name["route"][..] else { anyhow::bail!("{} routes", by_name["route"].len()) };
    let begun_by = if is_over_amqp {
        ensure!(!by_name.contains_key("publish"), "whoever publishes over AMQP has a span of its own");
        PARENT.to_owned()
    } else {
        let publish = by_name.get("publish").and_then(|spans| spans.first()).context("a publish")?;
        ensure!(hex(&publish.parent_span_id) == PARENT, "the publish has another parent");
        hex(&publish.span_id)
    };
    ensure!(hex(&route.parent_span_id) == begun_by, "the route has another parent");
    let attempts = &by_name["attempt"];
    // On one file an event is written once, when it is accepted: its deliveries go on from there.
    let begun_by = if is_over_amqp { &route.span_id } else { &by_name["publish"][0].span_id };
    ensure!(attempts.iter().all(|span| span.parent_span_id == *begun_by), "an attempt has another parent");
    let failed = attempts.iter().filter(|span| span.status.as_ref().is_some_and(|status| status.message == "http_5xx")).count();
    ensure!(failed == 2, "{failed} attempts failed");
    Ok(())
}
