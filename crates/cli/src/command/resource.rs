//! `hookyard app` and `hookyard endpoint`: the API's verbs.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::client::{Server, next_page};
use crate::output::{Format, show, talk};

const APP_COLUMNS: [&str; 5] = ["id", "uid", "name", "disabled", "createdAt"];
const TASK_COLUMNS: [&str; 4] = ["id", "task", "status", "createdAt"];
/// Endpoints asked for at once.
const PAGE: usize = 250;
const ENDPOINT_COLUMNS: [&str; 7] = ["id", "uid", "state", "url", "eventTypes", "channels", "createdAt"];

/// A page of a list.
#[derive(Args)]
pub struct Page {
    /// Most items.
    #[arg(long, default_value_t = 50)]
    limit: u16,
    /// Where the page before this one ended.
    #[arg(long)]
    iterator: Option<String>,
}

impl Page {
    /// As it is asked for.
    pub fn query(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        if let Some(iterator) = &self.iterator {
            query.append_pair("iterator", iterator);
        }
        format!("?{}", query.finish())
    }
}

/// Fields of an application.
#[derive(Args)]
pub struct AppFields {
    /// For people.
    #[arg(long)]
    name: Option<String>,
    /// Your own name for it.
    #[arg(long)]
    uid: Option<String>,
    /// Switch its webhooks off or on.
    #[arg(long)]
    disabled: Option<bool>,
    /// Anything else, as a JSON object.
    #[arg(long)]
    json: Option<String>,
}

impl AppFields {
    fn body(self) -> anyhow::Result<Value> {
        let mut body = extra(self.json.as_deref())?;
        put(&mut body, "name", self.name.map(Value::from));
        put(&mut body, "uid", self.uid.map(Value::from));
        put(&mut body, "disabled", self.disabled.map(Value::from));
        Ok(Value::Object(body))
    }
}

/// Applications.
#[derive(Subcommand)]
pub enum App {
    /// Create one.
    Create {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        fields: AppFields,
    },
    /// List them.
    List {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        page: Page,
    },
    /// Show one, by id or uid.
    Get {
        #[command(flatten)]
        server: Server,
        app: String,
    },
    /// Change the fields given.
    Update {
        #[command(flatten)]
        server: Server,
        app: String,
        #[command(flatten)]
        fields: AppFields,
    },
    /// Delete one with all its endpoints.
    Delete {
        #[command(flatten)]
        server: Server,
        app: String,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
}

impl App {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        let answer = match self {
            Self::Create { server, fields } => server.call(Method::POST, "/app", Some(&fields.body()?)).await?,
            Self::List { server, page } => server.call(Method::GET, &format!("/app{}", page.query()), None).await?,
            Self::Get { server, app } => server.call(Method::GET, &path(&["app", &app]), None).await?,
            Self::Update { server, app, fields } => {
                server.call(Method::PATCH, &path(&["app", &app]), Some(&fields.body()?)).await?
            }
            Self::Delete { server, app, yes } => {
                require_yes(yes, &format!("the application {app} with all its endpoints"))?;
                server.call(Method::DELETE, &path(&["app", &app]), None).await?;
                talk("deleted");
                return Ok(());
            }
        };
        show(&answer, &APP_COLUMNS, format);
        Ok(())
    }
}

/// Fields of an endpoint.
#[derive(Args)]
pub struct EndpointFields {
    /// Where to POST.
    #[arg(long = "to")]
    to: Option<String>,
    /// For people.
    #[arg(long)]
    name: Option<String>,
    /// Your own name for it.
    #[arg(long)]
    uid: Option<String>,
    /// Types it wants; none means every type. `user.*` means all that begin so.
    #[arg(long = "event-type")]
    event_types: Vec<String>,
    /// Channels it is narrowed to.
    #[arg(long = "channel")]
    channels: Vec<String>,
    /// payload, envelope, standard or cloudevents.
    #[arg(long)]
    body_format: Option<String>,
    /// Anything else, as a JSON object.
    #[arg(long)]
    json: Option<String>,
}

impl EndpointFields {
    fn body(self) -> anyhow::Result<Value> {
        let mut body = extra(self.json.as_deref())?;
        let list = |items: Vec<String>| if items.is_empty() { None } else { Some(json!(items)) };
        put(&mut body, "url", self.to.map(Value::from));
        put(&mut body, "name", self.name.map(Value::from));
        put(&mut body, "uid", self.uid.map(Value::from));
        put(&mut body, "eventTypes", list(self.event_types));
        put(&mut body, "channels", list(self.channels));
        put(&mut body, "bodyFormat", self.body_format.map(Value::from));
        Ok(Value::Object(body))
    }
}

/// Which application.
#[derive(Args)]
pub struct InApp {
    #[command(flatten)]
    server: Server,
    /// The application, by id or uid.
    #[arg(long, default_value = "default")]
    app: String,
}

impl InApp {
    async fn call(&self, method: Method, rest: &[&str], suffix: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let parts = [&["app", &self.app, "endpoint"], rest].concat();
        self.server.call(method, &format!("{}{suffix}", path(&parts)), body).await
    }

    /// Every endpoint's id.
    async fn endpoints(&self) -> anyhow::Result<Vec<String>> {
        let (mut ids, mut next) = (Vec::new(), String::new());
        loop {
            let page = self.call(Method::GET, &[], &format!("?limit={PAGE}{next}"), None).await?;
            let data = page["data"].as_array().context("no list of endpoints")?;
            ids.extend(data.iter().filter_map(|endpoint| endpoint["id"].as_str()).map(str::to_owned));
            match next_page(&page) {
                Some(iterator) => next = format!("&iterator={iterator}"),
                None => return Ok(ids),
            }
        }
    }

    /// The tasks begun, one for each endpoint.
    async fn replay_missing(&self, named: Vec<String>, since: &str, until: Option<String>) -> anyhow::Result<Vec<Value>> {
        let endpoints = if named.is_empty() { self.endpoints().await? } else { named };
        let mut body = Map::from_iter([("since".to_owned(), json!(since))]);
        put(&mut body, "until", until.map(Value::from));
        let body = Value::Object(body);
        let mut tasks = Vec::new();
        for endpoint in endpoints {
            let begun = self.call(Method::POST, &[&endpoint, "replay-missing"], "", Some(&body)).await;
            let context = || format!("{} tasks were begun; {endpoint} and those after it have none", tasks.len());
            tasks.push(begun.with_context(context)?);
        }
        Ok(tasks)
    }
}

/// Endpoints.
#[derive(Subcommand)]
pub enum Endpoint {
    /// Create one.
    Create {
        #[command(flatten)]
        app: InApp,
        #[command(flatten)]
        fields: Box<EndpointFields>,
    },
    /// List them.
    List {
        #[command(flatten)]
        app: InApp,
        #[command(flatten)]
        page: Page,
    },
    /// Show one, by id or uid.
    Get {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
    },
    /// Change the fields given.
    Update {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
        #[command(flatten)]
        fields: Box<EndpointFields>,
    },
    /// Delete one; what is on its way to it is discarded.
    Delete {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
    /// Show what share of its last attempts failed or got no answer, and whether it is left alone.
    Health {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
    },
    /// Send it a test and show what it answered.
    Test {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
        /// The event type whose sample is sent.
        #[arg(long)]
        event_type: Option<String>,
    },
    /// Send what endpoints would have received since a moment had they been there then, as tasks that go on after the answer.
    ReplayMissing {
        #[command(flatten)]
        app: InApp,
        /// By id or uid; without any, all of the application's.
        endpoints: Vec<String>,
        /// The moment (RFC 3339).
        #[arg(long)]
        since: String,
        /// Nothing later than this.
        #[arg(long)]
        until: Option<String>,
    },
    /// Switch one on.
    Enable {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
    },
    /// Switch one off; what is on its way to it becomes dead letters.
    Disable {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
    },
    /// Print what its receiver verifies with.
    Secret {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
    },
    /// Give it a new secret; the old one stays good for a while.
    RotateSecret {
        #[command(flatten)]
        app: InApp,
        endpoint: String,
        /// Seconds the old one stays good.
        #[arg(long, default_value_t = 86_400)]
        grace: u32,
    },
}

impl Endpoint {
    pub async fn run(self, format: Option<Format>) -> anyhow::Result<()> {
        let answer = match self {
            Self::Create { app, fields } => app.call(Method::POST, &[], "", Some(&fields.body()?)).await?,
            Self::List { app, page } => app.call(Method::GET, &[], &page.query(), None).await?,
            Self::Get { app, endpoint } => app.call(Method::GET, &[&endpoint], "", None).await?,
            Self::Update { app, endpoint, fields } => app.call(Method::PATCH, &[&endpoint], "", Some(&fields.body()?)).await?,
            Self::Enable { app, endpoint } => {
                app.call(Method::PATCH, &[&endpoint], "", Some(&json!({"disabled": false}))).await?
            }
            Self::Disable { app, endpoint } => {
                app.call(Method::PATCH, &[&endpoint], "", Some(&json!({"disabled": true}))).await?
            }
            Self::Test { app, endpoint, event_type } => {
                let mut body = Map::new();
                put(&mut body, "testEventType", event_type.map(Value::from));
                app.call(Method::POST, &[&endpoint, "test"], "", Some(&Value::Object(body))).await?
            }
            Self::ReplayMissing { app, endpoints, since, until } => {
                let tasks = app.replay_missing(endpoints, &since, until).await?;
                show(&json!({ "data": tasks }), &TASK_COLUMNS, format);
                return Ok(());
            }
            Self::Health { app, endpoint } => app.call(Method::GET, &[&endpoint, "health"], "", None).await?,
            Self::Secret { app, endpoint } => app.call(Method::GET, &[&endpoint, "secret"], "", None).await?,
            Self::RotateSecret { app, endpoint, grace } => {
                let body = json!({ "gracePeriodSeconds": grace });
                app.call(Method::POST, &[&endpoint, "secret", "rotate"], "", Some(&body)).await?
            }
            Self::Delete { app, endpoint, yes } => {
                require_yes(yes, &format!("the endpoint {endpoint}"))?;
                app.call(Method::DELETE, &[&endpoint], "", None).await?;
                talk("deleted");
                return Ok(());
            }
        };
        show(&answer, &ENDPOINT_COLUMNS, format);
        Ok(())
    }
}

/// A path of these parts, each escaped.
pub fn path(parts: &[&str]) -> String {
    parts.iter().fold(String::new(), |path, part| {
        let escaped: String = url::form_urlencoded::byte_serialize(part.as_bytes()).collect();
        format!("{path}/{escaped}")
    })
}

/// What cannot be undone wants to be asked for twice.
pub fn require_yes(yes: bool, what: &str) -> anyhow::Result<()> {
    if yes { Ok(()) } else { bail!("this deletes {what}; add --yes to do it") }
}

pub fn extra(json: Option<&str>) -> anyhow::Result<Map<String, Value>> {
    match json {
        None => Ok(Map::new()),
        Some(text) => serde_json::from_str(text).context("--json is not a JSON object"),
    }
}

pub fn put(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}
