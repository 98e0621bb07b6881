//! `hookyard log`: attempts, past and as they happen.

use anyhow::Context as _;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Server;
use crate::command::resource::{Page, path};
use crate::output::{Format, show, talk};

const COLUMNS: [&str; 8] =
    ["timestamp", "outcome", "responseStatusCode", "responseDurationMs", "eventType", "endpointId", "attempt", "msgId"];

/// What was sent, and what receivers answered.
#[derive(Args)]
pub struct Log {
    #[command(flatten)]
    server: Server,
    /// The application, by id or uid.
    #[arg(long, default_value = "default")]
    app: String,
    /// Go on with what is sent from now on, until told to stop.
    #[arg(long, conflicts_with_all = ["limit", "iterator"])]
    follow: bool,
    #[command(flatten)]
    page: Page,
    /// Only to this endpoint, by id or uid.
    #[arg(long)]
    endpoint: Option<String>,
    /// Only of this kind of event.
    #[arg(long)]
    event_type: Option<String>,
    /// Only of events on this channel.
    #[arg(long)]
    channel: Option<String>,
    /// Only failures.
    #[arg(long)]
    failed: bool,
}

impl Log {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        if self.follow {
            return self.follow(format).await;
        }
        let place = path(&["app", &self.app, "attempt"]);
        let query = format!("{}&with_content=false&{}", self.page.query(), self.filters());
        show(&self.server.call(Method::GET, &format!("{place}{query}"), None).await?, &COLUMNS, format);
        Ok(())
    }

    fn filters(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let given = [("endpoint_id", &self.endpoint), ("event_types", &self.event_type), ("channel", &self.channel)];
        for (name, value) in given {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if self.failed {
            query.append_pair("status", "2");
        }
        query.finish()
    }

    /// Attempts as they happen; one JSON document a line unless a table is asked for.
    async fn follow(&self, format: Option<Format>) -> anyhow::Result<()> {
        let app: String = url::form_urlencoded::byte_serialize(self.app.as_bytes()).collect();
        let mut stream = self.server.stream(&format!("/activity?app={app}&{}", self.filters())).await?;
        talk("following; what is sent from now on is shown");
        let mut seen = Vec::new();
        while let Some(part) = stream.chunk().await.context("the stream broke off")? {
            seen.extend_from_slice(&part);
            while let Some(end) = seen.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = seen.drain(..end + 2).collect();
                tell(&String::from_utf8_lossy(&event), format);
            }
        }
        Ok(())
    }
}

/// Says what an event of the stream says.
fn tell(event: &str, format: Option<Format>) {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let Some(data) = field("data").and_then(|data| serde_json::from_str::<Value>(data).ok()) else { return };
    match field("event") {
        Some("missed") => talk(&format!("some were not shown: {}", data["count"])),
        _ if format == Some(Format::Table) => show(&json!({ "data": [data] }), &COLUMNS, format),
        _ => show(&data, &COLUMNS, Some(Format::Jsonl)),
    }
}
