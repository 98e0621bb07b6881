//! `hookyard dead-letter` and `hookyard rejected`: what did not arrive, looked at, tried again, or let go.

use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::client::{Server, next_page};
use crate::command::resource::{Page, path, require_yes};
use crate::output::{Format, show, show_text, talk};

const LETTER_COLUMNS: [&str; 7] = ["id", "timestamp", "endpointId", "eventType", "reason", "attempts", "responseStatusCode"];
const SWEPT: [&str; 3] = ["examined", "removed", "restored"];
const REJECTED_COLUMNS: [&str; 6] = ["id", "timestamp", "reason", "routingKey", "bytes", "detail"];
/// How often a task is asked how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Which dead letters: by their ids, or all that pass the filters.
#[derive(Args)]
pub struct Selection {
    /// Their ids; without any, all that pass the filters.
    #[arg(conflicts_with_all = ["endpoint", "event_type", "reason", "before", "after", "all"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All of them, where no filter is given.
    #[arg(long)]
    all: bool,
    /// Only say how many it would be.
    #[arg(long)]
    dry_run: bool,
}

/// Filters on dead letters.
#[derive(Args)]
pub struct Filter {
    /// Of this endpoint, by id or uid.
    #[arg(long)]
    endpoint: Option<String>,
    /// Of this kind of event.
    #[arg(long)]
    event_type: Option<String>,
    /// For this reason.
    #[arg(long)]
    reason: Option<String>,
    /// That died before this moment (RFC 3339).
    #[arg(long)]
    before: Option<String>,
    /// That died after this moment.
    #[arg(long)]
    after: Option<String>,
}

/// Where they are.
#[derive(Args)]
pub struct At {
    #[command(flatten)]
    server: Server,
    /// The application, by id or uid.
    #[arg(long, default_value = "default")]
    app: String,
}

/// Dead letters.
#[derive(Subcommand)]
pub enum DeadLetter {
    /// List them, those that died last first.
    List {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        page: Page,
        #[command(flatten)]
        filter: Filter,
    },
    /// Show one with its attempts and its event.
    Show {
        #[command(flatten)]
        at: At,
        id: String,
    },
    /// Send them again.
    Replay {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        selection: Selection,
    },
    /// Make the queue of dead letters and their list agree, over all applications; done daily by itself.
    Sweep {
        #[command(flatten)]
        server: Server,
    },
    /// Let go of them for good.
    Discard {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        selection: Selection,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

/// What intake refused over AMQP, or could not be handled.
#[derive(Subcommand)]
pub enum Rejected {
    /// List it, the oldest first.
    List {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        page: Page,
    },
    /// Show one with its body.
    Show {
        #[command(flatten)]
        server: Server,
        id: String,
    },
    /// Let it go its way again, as if published now.
    Retry {
        #[command(flatten)]
        server: Server,
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Let go of it for good.
    Discard {
        #[command(flatten)]
        server: Server,
        #[arg(required = true)]
        ids: Vec<String>,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

impl Filter {
    fn query(&self, page: &Page) -> String {
        let mut query = url::form_urlencoded::Serializer::new(page.query());
        let fields = [
            ("endpoint_id", &self.endpoint),
            ("event_type", &self.event_type),
            ("reason", &self.reason),
            ("before", &self.before),
            ("after", &self.after),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    fn body(&self) -> Value {
        let fields = [
            ("endpointId", &self.endpoint),
            ("eventType", &self.event_type),
            ("reason", &self.reason),
            ("before", &self.before),
            ("after", &self.after),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.clone()?)))).collect()
    }
}

impl Selection {
    fn body(&self) -> anyhow::Result<Value> {
        if !self.ids.is_empty() {
            return Ok(json!({ "ids": self.ids, "dryRun": self.dry_run }));
        }
        let filter = self.filter.body();
        if filter.as_object().is_some_and(Map::is_empty) && !self.all && !self.dry_run {
            bail!("which ones? Name them, give a filter, or say --all");
        }
        Ok(json!({ "filter": filter, "dryRun": self.dry_run }))
    }

    fn what(&self) -> String {
        if self.ids.is_empty() {
            "every dead letter that passes the filters".to_owned()
        } else {
            format!("{} dead letters", self.ids.len())
        }
    }
}

impl At {
    fn path(&self, rest: &[&str]) -> String {
        path(&[&["app", &self.app, "dead-letter"], rest].concat())
    }
}

/// Step by step, until as many were looked at as waited at first.
async fn sweep(server: &Server, format: Option<Format>) -> anyhow::Result<()> {
    let mut sums = [0; 3];
    let mut waiting = None;
    loop {
        let step = server.call(Method::POST, "/dead-letter/sweep", None).await?;
        let number = |name: &str| step[name].as_u64().unwrap_or_default();
        for (sum, name) in sums.iter_mut().zip(SWEPT) {
            *sum += number(name);
        }
        let waited = *waiting.get_or_insert_with(|| number("waiting"));
        if number("examined") == 0 || sums[0] >= waited {
            let swept: Map<String, Value> = SWEPT.into_iter().map(str::to_owned).zip(sums.map(Value::from)).collect();
            show(&Value::from(swept), &SWEPT, format);
            return Ok(());
        }
        talk(&format!("{} of {waited}", sums[0]));
    }
}

impl DeadLetter {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        match self {
            Self::Sweep { server } => sweep(&server, format).await,
            Self::List { at, page, filter } => {
                let answer = at.server.call(Method::GET, &format!("{}{}", at.path(&[]), filter.query(&page)), None).await?;
                show(&answer, &LETTER_COLUMNS, format);
                Ok(())
            }
            Self::Show { at, id } => at.show(&id, format).await,
            Self::Replay { at, selection } => at.handle("replay", &selection, format).await,
            Self::Discard { at, selection, yes } => {
                if !selection.dry_run {
                    require_yes(yes, &selection.what())?;
                }
                at.handle("discard", &selection, format).await
            }
        }
    }
}

/// A dead letter with all that is known of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    dead_letter: &'a Value,
    event: &'a RawValue,
    attempts: &'a Value,
}

impl At {
    async fn show(&self, id: &str, format: Option<Format>) -> anyhow::Result<()> {
        let mut next = format!("{}?limit=250", self.path(&[]));
        loop {
            let page = self.server.call(Method::GET, &next, None).await?;
            let found = page["data"].as_array().and_then(|letters| letters.iter().find(|letter| letter["id"] == id));
            if let Some(letter) = found {
                let message = letter["msgId"].as_str().unwrap_or_default();
                let event = self.server.send(Method::GET, &path(&["app", &self.app, "msg", message]), None).await?;
                let attempts = path(&["app", &self.app, "attempt", "msg", message]);
                let endpoint = letter["endpointId"].as_str().unwrap_or_default();
                let attempts = self.server.call(Method::GET, &format!("{attempts}?endpoint_id={endpoint}"), None).await?;
                let shown = Shown { dead_letter: letter, event: serde_json::from_str(&event)?, attempts: &attempts["data"] };
                show_text(&serde_json::to_string(&shown)?, &[], format);
                return Ok(());
            }
            match next_page(&page) {
                Some(iterator) => next = format!("{}?limit=250&iterator={iterator}", self.path(&[])),
                None => bail!("there is no such dead letter; it may have been replayed or discarded"),
            }
        }
    }

    /// Replays or discards, and watches the task that does it.
    async fn handle(&self, verb: &str, selection: &Selection, format: Option<Format>) -> anyhow::Result<()> {
        let answer = self.server.call(Method::POST, &self.path(&[verb]), Some(&selection.body()?)).await?;
        let Some(task) = answer["task"].as_str() else {
            show(&answer, &[], format);
            return Ok(());
        };
        let mut begun = None;
        loop {
            let found = self.server.call(Method::GET, &path(&["task", task]), None).await?;
            if begun.as_ref() != Some(&found["begun"]) {
                talk(&format!("{verb}: {} of {}", found["begun"], answer["count"]));
                begun = Some(found["begun"].clone());
            }
            if found["status"] != "running" {
                show(&found, &[], format);
                if found["status"] == "failed" {
                    bail!("the task failed; what it had not begun with is as it was");
                }
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Rejected {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        let answer = match self {
            Self::List { server, page } => server.call(Method::GET, &format!("/rejected{}", page.query()), None).await?,
            Self::Show { server, id } => {
                let all = server.call(Method::GET, "/rejected?limit=250", None).await?;
                match all["data"].as_array().and_then(|all| all.iter().find(|found| found["id"] == id.as_str())) {
                    Some(found) => found.clone(),
                    None => bail!("there is nothing of this id among the first 250; deal with what is in front of it"),
                }
            }
            Self::Retry { server, ids } => server.call(Method::POST, "/rejected/retry", Some(&json!({ "ids": ids }))).await?,
            Self::Discard { server, ids, yes } => {
                require_yes(yes, &format!("{} rejected messages", ids.len()))?;
                server.call(Method::POST, "/rejected/discard", Some(&json!({ "ids": ids }))).await?
            }
        };
        show(&answer, &REJECTED_COLUMNS, format);
        Ok(())
    }
}
