//! `hookyard event`.

use std::io::Read as _;

use anyhow::Context as _;
use clap::Subcommand;
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::client::Server;
use crate::command::resource::path;
use crate::output::{Format, show_text};

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

/// A message as it is published: its payload as it was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    event_type: String,
    payload: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<String>,
}

impl Event {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        let Self::Publish { server, app, event_type, data, id, channels } = self;
        let payload: Box<RawValue> = serde_json::from_str(&read(&data)?).context("the data is not JSON")?;
        let body = Body { event_type, payload, event_id: id, channels };
        let body = serde_json::to_string(&body)?;
        let answer = server.send(Method::POST, &path(&["app", &app, "msg"]), Some(body)).await?;
        show_text(&answer, &[], format);
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
