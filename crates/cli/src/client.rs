//! The API, called by the command line.

use std::sync::OnceLock;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

const JSON: &str = "application/json";

/// Where the page after this one begins, if there is one.
pub fn next_page(page: &Value) -> Option<&str> {
    page["iterator"].as_str().filter(|_| page["done"] != true)
}

/// Where the API is and who is calling.
#[derive(Args, Clone, Debug)]
pub struct Server {
    /// The API's address.
    #[arg(long, env = "HOOKYARD_URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// A token; `hookyard token create` makes one.
    #[arg(long, env = "HOOKYARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

impl Server {
    /// Calls an operation; an error answer becomes an error with its code and what it says.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        Ok(value_of(&self.send(method, path, body.map(Value::to_string)).await?))
    }

    /// The same where the text of body and answer matters: payloads, samples and schemas are JSON of publishers and administrators.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> anyhow::Result<String> {
        answer(self.ask(method, path, body.map(|body| (JSON, body))).await?).await
    }

    /// The same with a body of another kind.
    pub async fn send_as(&self, method: Method, path: &str, kind: &'static str, body: String) -> anyhow::Result<String> {
        answer(self.ask(method, path, Some((kind, body))).await?).await
    }

    /// Begins to read an answer that goes on.
    pub async fn stream(&self, path: &str) -> anyhow::Result<Response> {
        let response = self.ask(Method::GET, path, None).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.context("the answer broke off")?;
        refused(status, &serde_json::from_str(&text).unwrap_or_default())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<(&'static str, String)>) -> anyhow::Result<Response> {
        let token =
            self.token.as_deref().context("no token: set HOOKYARD_TOKEN or --token; `hookyard token create` makes one")?;
        let url = format!("{}/api/v1{path}", self.url.trim_end_matches('/'));
        // What the server does not know is a mistake to be told of, not to be ignored.
        let mut request = client()?.request(method, &url).bearer_auth(token).header("prefer", "handling=strict");
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        request.send().await.with_context(|| format!("cannot reach {}; is `hookyard run` running there?", self.url))
    }
}

/// One for the whole process, so that what asks often does so over connections that are open.
fn client() -> anyhow::Result<&'static reqwest::Client> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client);
    }
    let client = reqwest::Client::builder().no_proxy().build().context("cannot build an HTTP client")?;
    Ok(CLIENT.get_or_init(|| client))
}

async fn answer(response: Response) -> anyhow::Result<String> {
    let status = response.status();
    let text = response.text().await.context("the answer broke off")?;
    if status.is_success() { Ok(text) } else { refused(status, &value_of(&text)) }
}

/// What a text says, which is itself where it cannot be read.
pub fn value_of(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)) }
}

/// An error answer: its code and what it says.
fn refused<T>(status: StatusCode, answer: &Value) -> anyhow::Result<T> {
    match (&answer["code"], &answer["detail"]) {
        (Value::String(code), Value::String(detail)) => bail!("{detail} ({code}, {status})"),
        (_, Value::Array(mistakes)) => {
            let told = mistakes.iter().map(|mistake| {
                let field = mistake["loc"].as_array().and_then(|loc| loc.last()).and_then(Value::as_str).unwrap_or_default();
                format!("{field}: {}", mistake["msg"].as_str().unwrap_or_default())
            });
            bail!("{} ({status})", told.collect::<Vec<_>>().join("; "))
        }
        _ => bail!("{status}"),
    }
}
