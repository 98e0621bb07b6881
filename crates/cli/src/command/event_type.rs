//! `hookyard event-type`: the catalog.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Server;
use crate::command::resource::{Page, extra, path, put, require_yes};
use crate::output::{Format, show, talk};

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
    fn body(self) -> anyhow::Result<Value> {
        let mut body = extra(self.json.as_deref())?;
        put(&mut body, "description", self.description.map(Value::from));
        put(&mut body, "groupName", self.group.map(Value::from));
        put(&mut body, "archived", self.archived.map(Value::from));
        Ok(Value::Object(body))
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
                body["name"] = json!(name);
                body.as_object_mut().into_iter().for_each(|body| {
                    body.entry("description").or_insert_with(|| json!(""));
                });
                server.call(Method::POST, "/event-type", Some(&body)).await?
            }
            Self::List { server, page } => server.call(Method::GET, &format!("/event-type{}", page.query()), None).await?,
            Self::Get { server, name } => server.call(Method::GET, &path(&["event-type", &name]), None).await?,
            Self::Update { server, name, fields } => {
                server.call(Method::PATCH, &path(&["event-type", &name]), Some(&fields.body()?)).await?
            }
            Self::Export { server } => server.call(Method::GET, "/event-type/export", None).await?,
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
        show(&answer, &COLUMNS, format);
        Ok(())
    }
}
