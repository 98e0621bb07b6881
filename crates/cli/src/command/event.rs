//! `hookyard event`.

use std::io::Read as _;

use anyhow::Context as _;
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Server;
use crate::command::resource::path;
use crate::output::{Format, show};

/// Events.
#[derive(Subcommand)]
pub enum Event {
    /// Publish one over HTTP.
    Publish {
        #[command(flatten)]
        server: Server,
        /// The application, by id or uid.
        #[arg(long, default_value = "default")]
        app: String,
        /// The kind of event.
        event_type: String,
        /// Its data: JSON, @file, or - for standard input.
        data: String,
        /// Your own id for it: publishing it again is then refused.
        #[arg(long)]
        id: Option<String>,
        /// Labels that narrow who receives it.
        #[arg(long = "channel")]
        channels: Vec<String>,
    },
}

impl Event {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        let Self::Publish { server, app, event_type, data, id, channels } = self;
        let payload: Value = serde_json::from_str(&read(&data)?).context("the data is not JSON")?;
        let mut body = json!({"eventType": event_type, "payload": payload});
        if let Some(id) = id {
            body["eventId"] = json!(id);
        }
        if !channels.is_empty() {
            body["channels"] = json!(channels);
        }
        let answer = server.call(Method::POST, &path(&["app", &app, "msg"]), Some(&body)).await?;
        show(&answer, &[], format);
        Ok(())
    }
}

fn read(data: &str) -> anyhow::Result<String> {
    match data.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}")),
        None if data == "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
            Ok(text)
        }
        None => Ok(data.to_owned()),
    }
}
