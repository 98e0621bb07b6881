//! Traces over OTLP, where the environment asks for them.

use std::time::Duration;

use anyhow::Context as _;
use hookyard_telemetry::Traces;
use hookyard_telemetry::traces::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// OpenTelemetry's own variable; without it nothing is traced.
const ENDPOINT: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// The longest a collector may take; spans that come meanwhile wait, and beyond a bound are dropped.
const TIMEOUT: Duration = Duration::from_secs(10);

/// As the environment asks.
pub fn begin() -> anyhow::Result<Traces> {
    let is_asked_for = ENDPOINT.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !is_asked_for {
        return Ok(Traces::default());
    }
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().context("cannot build an HTTP client")?;
    Traces::exporting(Collector { client, runtime: Handle::current() }).context("OpenTelemetry's variables are wrong")
}

/// Spans are sent by a thread that has no runtime; the requests are made on ours.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let post = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let answer = self.runtime.spawn(async move {
            let response = post.send().await.map_err(reqwest::Error::without_url)?;
            let status = response.status();
            response.bytes().await.map(|body| (status, body))
        });
        let (status, body) = answer.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}
