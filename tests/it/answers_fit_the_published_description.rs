//! Every operation of the published description we are compatible with (`contract/target.json`: its paths, parameters, fields,
//! status codes and schemas, without the prose) answers as it says, on both backends.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::{Api, Backend, World, eventually};
use jsonschema::Validator;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

on_both_backends! {
    every_operation_answers_as_described;
}

/// Where we differ and say so (docs/compatibility.md): operation and status.
const DIFFERENCES: [(&str, u16); 2] = [
    // It describes success alone.
    ("POST /api/v1/auth/logout", 401),
    // Some of the official clients read a body here, where the description promises none.
    ("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate", 200),
];

/// The description, and which of its answers were seen.
struct Target {
    /// Status → schema, by operation; no schema means no body.
    operations: BTreeMap<String, BTreeMap<u16, Option<Validator>>>,
    seen: BTreeMap<String, BTreeSet<u16>>,
}

impl Target {
    fn read() -> Result<Self> {
        let text = include_str!("../contract/target.json");
        let mut document: Value = serde_json::from_str(text)?;
        as_json_schema(&mut document);
        let components = document["components"].clone();
        let mut operations = BTreeMap::new();
        for (path, methods) in document["paths"].as_object().context("paths")? {
            for (method, operation) in methods.as_object().context("methods")? {
                let mut answers = BTreeMap::new();
                for (status, answer) in operation["responses"].as_object().context("responses")? {
                    let schema = &answer["content"]["application/json"]["schema"];
                    let validator = if schema.is_null() {
                        None
                    } else {
                        let mut whole = schema.clone();
                        whole["components"] = components.clone();
                        Some(jsonschema::options().build(&whole).map_err(|error| anyhow::anyhow!("{path}: {error}"))?)
                    };
                    answers.insert(status.parse()?, validator);
                }
                operations.insert(format!("{} {path}", method.to_uppercase()), answers);
            }
        }
        Ok(Self { operations, seen: BTreeMap::new() })
    }

    /// Judges an answer.
    fn check(&mut self, operation: &str, status: StatusCode, answer: &Value) -> Result<()> {
        let answers = self.operations.get(operation).with_context(|| format!("{operation} is not described"))?;
        self.seen.entry(operation.to_owned()).or_default().insert(status.as_u16());
        if DIFFERENCES.contains(&(operation, status.as_u16())) {
            return Ok(());
        }
        if status.is_success() && answers.keys().all(|described| *described >= 300) {
            // It does not say what success looks like.
            ensure!(answer.is_null(), "{operation}: {answer}");
            return Ok(());
        }
        match answers.get(&status.as_u16()) {
            None => bail!("{operation}: {status} is not described: {answer}"),
            Some(None) => ensure!(answer.is_null(), "{operation}: {status} is described without a body: {answer}"),
            Some(Some(schema)) => {
                let wrong: Vec<String> =
                    schema.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
                ensure!(wrong.is_empty(), "{operation}: {status} {answer}\n  {}", wrong.join("\n  "));
            }
        }
        Ok(())
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema has a second type.
fn as_json_schema(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(as_json_schema),
        Value::Object(fields) => {
            if fields.remove("nullable") == Some(json!(true))
                && let Some(Value::String(kind)) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            fields.values_mut().for_each(as_json_schema);
        }
        _ => {}
    }
}

/// Calls operations by their described path and judges what they answer.
struct Caller {
    target: Target,
    admin: Api,
    values: BTreeMap<&'static str, String>,
}

impl Caller {
    async fn call(&mut self, operation: &str, query: &str, body: Option<&Value>, wanted: u16) -> Result<Value> {
        let api = self.admin.clone();
        self.call_as(&api, operation, query, body, wanted).await
    }

    async fn call_as(&mut self, api: &Api, operation: &str, query: &str, body: Option<&Value>, wanted: u16) -> Result<Value> {
        let (method, template) = operation.split_once(' ').context("METHOD PATH")?;
        let mut path = template.trim_start_matches("/api/v1").to_owned();
        for (name, value) in &self.values {
            path = path.replace(&format!("{{{name}}}"), value);
        }
        let (status, answer) = api.try_call(Method::from_bytes(method.as_bytes())?, &format!("{path}{query}"), body).await?;
        ensure!(status == wanted, "{operation}{query} {body:?}: {status} instead of {wanted}: {answer}");
        self.target.check(operation, status, &answer)?;
        Ok(answer)
    }

    /// The same with something else at one place of the path.
    async fn call_at(
        &mut self,
        operation: &str,
        name: &'static str,
        value: &str,
        body: Option<&Value>,
        wanted: u16,
    ) -> Result<()> {
        let usual = self.values.insert(name, value.to_owned()).unwrap_or_default();
        let called = self.call(operation, "", body, wanted).await.map(drop);
        self.values.insert(name, usual);
        called
    }
}

async fn every_operation_answers_as_described(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |hit, _| Answer::Status(if hit.path == "/down" { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let admin = Api::of(&running)?;
    let values = BTreeMap::from([
        ("app_id", "contract".to_owned()),
        ("endpoint_id", "ok".to_owned()),
        ("event_type_name", "contract.made".to_owned()),
    ]);
    let mut caller = Caller { target: Target::read()?, admin, values };
    successes(&mut caller, &world).await?;
    refusals(&mut caller).await?;
    the_end(&mut caller).await?;
    every_answer_was_seen(&caller.target)?;
    running.drain().await;
    Ok(())
}

/// Everything once, as it is meant.
async fn successes(caller: &mut Caller, world: &World) -> Result<()> {
    caller.call("GET /api/v1/health", "", None, 204).await?;
    caller.call("HEAD /api/v1/health", "", None, 204).await?;
    caller.call("GET /api/v1/health/ping", "", None, 204).await?;
    caller.call("HEAD /api/v1/health/ping", "", None, 204).await?;

    let app = json!({"name": "Contract", "uid": "contract", "throttleRate": 10, "metadata": {"a": "b"}});
    caller.call("POST /api/v1/app", "", Some(&app), 201).await?;
    caller.call("POST /api/v1/app", "?get_if_exists=true", Some(&app), 200).await?;
    caller.call("GET /api/v1/app", "?limit=1&order=descending", None, 200).await?;
    caller.call("GET /api/v1/app/{app_id}", "", None, 200).await?;
    caller.call("PUT /api/v1/app/{app_id}", "", Some(&app), 200).await?;
    caller.call_at("PUT /api/v1/app/{app_id}", "app_id", "another", Some(&json!({"name": "Another"})), 201).await?;
    caller.call("PATCH /api/v1/app/{app_id}", "", Some(&json!({"name": "Patched"})), 200).await?;

    let described =
        json!({"name": "contract.made", "description": "x", "schemas": {"1": {"type": "object"}}, "featureFlag": "f"});
    caller.call("POST /api/v1/event-type", "", Some(&described), 201).await?;
    caller.call("GET /api/v1/event-type", "?with_content=true&include_archived=true&order=ascending", None, 200).await?;
    caller.call("GET /api/v1/event-type/{event_type_name}", "", None, 200).await?;
    caller.call("PUT /api/v1/event-type/{event_type_name}", "", Some(&json!({"description": "y"})), 200).await?;
    let put = json!({"description": "z"});
    caller.call_at("PUT /api/v1/event-type/{event_type_name}", "event_type_name", "contract.put", Some(&put), 201).await?;
    caller.call("PATCH /api/v1/event-type/{event_type_name}", "", Some(&json!({"deprecated": true})), 200).await?;

    let ok = json!({"url": world.receiver.url("/ok"), "uid": "ok", "channels": ["c"], "eventTypes": ["contract.made"]});
    caller.call("POST /api/v1/app/{app_id}/endpoint", "", Some(&ok), 201).await?;
    let down = json!({"url": world.receiver.url("/down"), "uid": "down", "retrySchedule": [600]});
    caller.call("POST /api/v1/app/{app_id}/endpoint", "", Some(&down), 201).await?;
    caller.call("GET /api/v1/app/{app_id}/endpoint", "?order=ascending", None, 200).await?;
    caller.call("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}", "", None, 200).await?;
    caller.call("PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}", "", Some(&ok), 200).await?;
    let put = json!({"url": world.receiver.url("/put"), "disabled": true});
    caller.call_at("PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}", "endpoint_id", "put", Some(&put), 201).await?;
    caller.call("PATCH /api/v1/app/{app_id}/endpoint/{endpoint_id}", "", Some(&json!({"description": "d"})), 200).await?;
    let headers = json!({"headers": {"x-a": "b", "authorization": "secret"}});
    caller.call("PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers", "", Some(&headers), 204).await?;
    caller.call("PATCH /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers", "", Some(&headers), 204).await?;
    caller.call("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers", "", None, 200).await?;
    caller.call("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret", "", None, 200).await?;
    caller.call("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate", "", Some(&json!({})), 200).await?;

    messages(caller).await
}

/// What becomes of a message.
async fn messages(caller: &mut Caller) -> Result<()> {
    let message = json!({"eventType": "contract.made", "eventId": "one", "channels": ["c"], "payload": {"a": 1}});
    let sent = caller.call("POST /api/v1/app/{app_id}/msg", "", Some(&message), 202).await?;
    let id = sent["id"].as_str().context("an id")?.to_owned();
    caller.values.insert("msg_id", id);
    let attempts = "GET /api/v1/app/{app_id}/attempt/msg/{msg_id}";
    let mut found = Ok(json!(null));
    eventually("both attempts are listed", async || {
        found = caller.call(attempts, "?limit=5", None, 200).await;
        // An answer that breaks the contract ends the wait, and fails below.
        found.as_ref().map_or(true, |page| page["data"].as_array().is_some_and(|data| data.len() == 2))
    })
    .await?;
    let found = found?;
    let attempt = found["data"][0]["id"].as_str().context("an attempt")?.to_owned();
    caller.values.insert("attempt_id", attempt);
    caller.call(attempts, "?status=0&status_code_class=200&channel=c&endpoint_id=ok&with_content=false", None, 200).await?;
    caller.call("GET /api/v1/app/{app_id}/msg", "?channel=c&event_types=contract.made&with_content=true", None, 200).await?;
    caller.call("GET /api/v1/app/{app_id}/msg/{msg_id}", "?with_content=true", None, 200).await?;
    let destinations = "GET /api/v1/app/{app_id}/msg/{msg_id}/endpoint";
    ensure!(caller.call(destinations, "", None, 200).await?["data"].as_array().is_some_and(|data| data.len() == 2));
    for query in ["?status=0", "?event_types=contract.made&before=2200-01-01T00:00:00Z&after=2020-01-01T00:00:00Z"] {
        caller.call("GET /api/v1/app/{app_id}/attempt/endpoint/{endpoint_id}", query, None, 200).await?;
        caller.call("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/msg", query, None, 200).await?;
    }
    caller.call("GET /api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}", "", None, 200).await?;
    caller.call("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/stats", "?since=2020-01-01T00:00:00Z", None, 200).await?;
    caller.call("POST /api/v1/app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend", "", None, 202).await?;
    let example = json!({"eventType": "contract.made"});
    caller.call("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example", "", Some(&example), 200).await?;
    let since = json!({"since": "2020-01-01T00:00:00Z", "until": null});
    caller.call("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/recover", "", Some(&since), 202).await?;
    caller.call("POST /api/v1/auth/app-portal-access/{app_id}", "", Some(&json!({"featureFlags": ["x"]})), 200).await?;
    Ok(())
}

/// Operations with a body, and one that is wrong.
const WRONG_BODIES: [(&str, &str); 17] = [
    ("POST /api/v1/app", r#"{"name": 7}"#),
    ("PUT /api/v1/app/{app_id}", r#"{"uid": "x"}"#),
    ("PATCH /api/v1/app/{app_id}", r#"{"throttleRate": 0}"#),
    ("POST /api/v1/event-type", r#"{"name": "a b", "description": "x"}"#),
    ("PUT /api/v1/event-type/{event_type_name}", "{}"),
    ("PATCH /api/v1/event-type/{event_type_name}", r#"{"archived": "yes"}"#),
    ("POST /api/v1/app/{app_id}/endpoint", r#"{"url": "no"}"#),
    ("PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}", "{}"),
    ("PATCH /api/v1/app/{app_id}/endpoint/{endpoint_id}", r#"{"channels": "x"}"#),
    ("PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers", r#"{"headers": {"host": "x"}}"#),
    ("PATCH /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers", r#"{"headers": 1}"#),
    ("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate", r#"{"key": "short"}"#),
    ("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/send-example", "{}"),
    ("POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/recover", r#"{"since": "soon"}"#),
    ("POST /api/v1/app/{app_id}/msg", r#"{"eventType": "a b", "payload": {}}"#),
    ("POST /api/v1/app/{app_id}/msg", r#"{"eventType": "a", "payload": {}, "channels": ["1", "2", "3", "4", "5", "6"]}"#),
    ("POST /api/v1/auth/app-portal-access/{app_id}", r#"{"featureFlags": 1}"#),
];

/// Lists, and queries that are wrong.
const WRONG_QUERIES: [(&str, &str); 9] = [
    ("GET /api/v1/app", "?limit=251"),
    ("GET /api/v1/event-type", "?order=sideways"),
    ("GET /api/v1/app/{app_id}/endpoint", "?iterator=nonsense"),
    ("GET /api/v1/app/{app_id}/msg", "?before=yesterday"),
    ("GET /api/v1/app/{app_id}/attempt/msg/{msg_id}", "?status=9"),
    ("GET /api/v1/app/{app_id}/attempt/endpoint/{endpoint_id}", "?event_types=a%20b"),
    ("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/msg", "?channel=a%20b"),
    ("GET /api/v1/app/{app_id}/msg/{msg_id}/endpoint", "?limit=0"),
    ("GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/stats", "?since=2030-01-01T00:00:00Z&until=2020-01-01T00:00:00Z"),
];

/// Operations that need no token.
fn is_open(operation: &str) -> bool {
    operation.contains("/health")
}

/// Everything that must be refused.
async fn refusals(caller: &mut Caller) -> Result<()> {
    for (operation, body) in WRONG_BODIES {
        caller.call(operation, "", Some(&serde_json::from_str(body)?), 422).await.context(body)?;
    }
    for (operation, query) in WRONG_QUERIES {
        caller.call(operation, query, None, 422).await?;
    }
    let taken = json!({"name": "Contract", "uid": "contract"});
    caller.call("POST /api/v1/app", "", Some(&taken), 409).await?;
    let known = json!({"name": "contract.made", "description": "x"});
    caller.call("POST /api/v1/event-type", "", Some(&known), 409).await?;
    let taken = json!({"url": "https://example.com/", "uid": "ok"});
    caller.call("POST /api/v1/app/{app_id}/endpoint", "", Some(&taken), 409).await?;
    let again = json!({"eventType": "contract.made", "eventId": "one", "payload": {}});
    caller.call("POST /api/v1/app/{app_id}/msg", "", Some(&again), 409).await?;

    let stranger = caller.admin.with_token("nonsense");
    let publisher = caller.admin.scoped("publish")?;
    let neighbour = caller.admin.scoped("app:another")?;
    let operations: Vec<String> = caller.target.operations.keys().cloned().collect();
    let body = json!({"name": "x", "url": "https://example.com/", "description": "x", "headers": {}, "since": "2020-01-01T00:00:00Z",
        "eventType": "a", "payload": {}});
    for operation in operations.iter().filter(|operation| !is_open(operation)) {
        let with_body = operation.starts_with('P').then_some(&body);
        caller.call_as(&stranger, operation, "", with_body, 401).await?;
        if operation.contains("/auth/logout") {
            continue;
        }
        // One may publish and nothing else; the other has an application of its own, and this is not it.
        let is_publishing = operation == "POST /api/v1/app/{app_id}/msg";
        let is_catalog = operation.starts_with("GET /api/v1/event-type");
        if !is_publishing {
            caller.call_as(&publisher, operation, "", with_body, 403).await?;
        }
        if !is_catalog {
            caller.call_as(&neighbour, operation, "", with_body, 403).await?;
        }
    }
    nothing_there(caller).await
}

/// Every place in a path with something that is not there.
async fn nothing_there(caller: &mut Caller) -> Result<()> {
    let operations: Vec<String> = caller.target.operations.keys().cloned().collect();
    let no_id = |prefix: &str| format!("{prefix}_{}", "0".repeat(27));
    let body = json!({"name": "x", "url": "https://example.com/", "description": "x", "headers": {}, "since": "2020-01-01T00:00:00Z",
        "eventType": "a", "payload": {}});
    for operation in operations {
        for (place, absent) in [
            ("app_id", no_id("app")),
            ("endpoint_id", no_id("ep")),
            ("msg_id", no_id("msg")),
            ("attempt_id", no_id("atmpt")),
            ("event_type_name", "nobody.knows".to_owned()),
        ] {
            // A PUT creates what is not there, by a name of the caller's.
            let creates =
                operation.starts_with("PUT") && operation.ends_with(&format!("{{{place}}}")) && place == "event_type_name";
            if operation.contains(&format!("{{{place}}}")) && !creates {
                // What a portal may do is not restricted by fields that it does not know.
                let body = if operation.contains("/auth/") { &json!({}) } else { &body };
                let with_body = operation.starts_with('P').then_some(body);
                caller.call_at(&operation, place, &absent, with_body, 404).await?;
            }
        }
    }
    Ok(())
}

/// What ends things, last.
async fn the_end(caller: &mut Caller) -> Result<()> {
    caller.call("DELETE /api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content", "", None, 204).await?;
    caller.call("DELETE /api/v1/app/{app_id}/msg/{msg_id}/content", "", None, 204).await?;
    caller.call("DELETE /api/v1/event-type/{event_type_name}", "", None, 204).await?;
    caller.call("DELETE /api/v1/event-type/{event_type_name}", "?expunge=true", None, 204).await?;
    caller.call("DELETE /api/v1/app/{app_id}/endpoint/{endpoint_id}", "", None, 204).await?;
    caller.call("DELETE /api/v1/app/{app_id}", "", None, 204).await?;
    let own = caller.admin.scoped("app:default")?;
    caller.call_as(&own, "POST /api/v1/auth/logout", "", None, 204).await?;
    eventually("the token is good no longer", async || {
        own.try_call(Method::GET, "/app/default", None).await.is_ok_and(|(status, _)| status == 401)
    })
    .await
}

/// Every operation was called, and each answered with success, and with each refusal that can be provoked.
fn every_answer_was_seen(target: &Target) -> Result<()> {
    let none = BTreeSet::new();
    for (operation, answers) in &target.operations {
        let seen = target.seen.get(operation).unwrap_or(&none);
        ensure!(seen.iter().any(|status| *status < 300), "{operation} never succeeded");
        let mut wanted = BTreeSet::new();
        if !is_open(operation) {
            wanted.insert(401);
            if !operation.contains("/auth/logout") {
                wanted.insert(403);
            }
            // A PUT creates what is not there, by a name of the caller's.
            if operation.contains('{') && operation != "PUT /api/v1/event-type/{event_type_name}" {
                wanted.insert(404);
            }
        }
        wanted.extend(WRONG_BODIES.iter().chain(&WRONG_QUERIES).filter(|(wrong, _)| wrong == operation).map(|_| 422));
        let missing: Vec<_> = wanted.iter().filter(|status| answers.contains_key(status) && !seen.contains(status)).collect();
        ensure!(missing.is_empty(), "{operation}: {missing:?} were not seen, only {seen:?}");
    }
    Ok(())
}
