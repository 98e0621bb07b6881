//! `hookyard event-type`: the catalog.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::client::Server;
use crate::command::resource::{Page, path, require_yes};
use crate::output::{Format, print, show_text, talk};

const COLUMNS: [&str; 5] = ["name", "groupName", "archived", "deprecated", "description"];

/// Fields of an event type.
#[derive(Args)]
pub struct Fields {
    /// For people.
    #[arg(long)]
    description: Option<String>,
    /// The group it is listed in.
    #[arg(long)]
    group: Option<String>,
    /// Mark it as currently unavailable, or as available again.
    #[arg(long)]
    archived: Option<bool>,
    /// Anything else, as a JSON object.
    #[arg(long)]
    json: Option<String>,
}

impl Fields {
    /// The text of samples and schemas stays as it is given.
    fn body(self) -> anyhow::Result<BTreeMap<String, Box<RawValue>>> {
        let mut body = match &self.json {
            Some(json) => serde_json::from_str(json).context("--json is not a JSON object")?,
            None => BTreeMap::new(),
        };
        let given = [("description", self.description.map(Value::from)), ("groupName", self.group.map(Value::from))];
        for (name, value) in given.into_iter().chain([("archived", self.archived.map(Value::from))]) {
            if let Some(value) = value {
                body.insert(name.to_owned(), to_raw_value(&value)?);
            }
        }
        Ok(body)
    }
}

/// Event types: the catalog.
#[derive(Subcommand)]
pub enum EventTypeCommand {
    /// Create one.
    Create {
        #[command(flatten)]
        server: Server,
        name: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// List them.
    List {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        page: Page,
    },
    /// Show one.
    Get {
        #[command(flatten)]
        server: Server,
        name: String,
    },
    /// Change the fields given.
    Update {
        #[command(flatten)]
        server: Server,
        name: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Archive one: it is currently unavailable.
    Delete {
        #[command(flatten)]
        server: Server,
        name: String,
        /// Remove it from the catalog for good.
        #[arg(long)]
        expunge: bool,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
    /// Print the whole catalog as a file.
    Export {
        #[command(flatten)]
        server: Server,
    },
    /// Bring in a catalog of a file in JSON or YAML.
    Import {
        #[command(flatten)]
        server: Server,
        file: std::path::PathBuf,
        /// Only say what it would do.
        #[arg(long)]
        dry_run: bool,
    },
}

impl EventTypeCommand {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        let answer = match self {
            Self::Create { server, name, fields } => {
                let mut body = fields.body()?;
                body.insert("name".to_owned(), to_raw_value(&name)?);
                if !body.contains_key("description") {
                    body.insert("description".to_owned(), to_raw_value("")?);
                }
                server.send(Method::POST, "/event-type", Some(serde_json::to_string(&body)?)).await?
            }
            Self::List { server, page } => server.send(Method::GET, &format!("/event-type{}", page.query()), None).await?,
            Self::Get { server, name } => server.send(Method::GET, &path(&["event-type", &name]), None).await?,
            Self::Update { server, name, fields } => {
                let body = serde_json::to_string(&fields.body()?)?;
                server.send(Method::PATCH, &path(&["event-type", &name]), Some(body)).await?
            }
            Self::Export { server } => {
                // A file, whose samples and schemas keep the text that an administrator gave them.
                print(&server.send(Method::GET, "/event-type/export", None).await?);
                return Ok(());
            }
            Self::Import { server, file, dry_run } => {
                let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
                let is_yaml = file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
                let kind = if is_yaml { "application/yaml" } else { "application/json" };
                server.send_as(Method::POST, &format!("/event-type/import?dry_run={dry_run}"), kind, text).await?
            }
            Self::Delete { server, name, expunge, yes } => {
                require_yes(yes, &format!("the event type {name}"))?;
                let place = format!("{}?expunge={expunge}", path(&["event-type", &name]));
                server.call(Method::DELETE, &place, None).await?;
                talk("deleted");
                return Ok(());
            }
        };
        show_text(&answer, &COLUMNS, format);
        Ok(())
    }
}
