//! Traffic with a secret in every place where one can be, everything logged that can be, and none of them in it.

use std::io::Read as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::process::{await_ready, free_address, program};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::world::SECRET_KEY;
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::json;

on_both_backends! {
    nothing_secret_is_said_whatever_goes_wrong;
}

/// What must not be said, each in the place it is named after.
const SECRETS: [&str; 11] = [
    "secret-in-payload",
    "secret-in-context",
    "secret-in-api-key",
    "secret-in-header",
    "secret-in-userinfo",
    "secret-in-query",
    "secret-in-response",
    "secret-in-response-header",
    "c2VjcmV0LWluLXNpZ25pbmcta2V5LW9mLWVuZHBvaW50",
    "secret-in-a-token",
    SECRET_KEY,
];

async fn nothing_secret_is_said_whatever_goes_wrong(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |hit, earlier| match hit.path.as_str() {
        "/fails" => Answer::Full(500, vec![("x-session", "secret-in-response-header")], "secret-in-response"),
        "/moved" => {
            Answer::Full(302, vec![("location", "http://127.0.0.1/?token=secret-in-response-header")], "secret-in-response")
        }
        "/gone" => Answer::Full(410, vec![], "secret-in-response"),
        _ if earlier == 0 => Answer::Full(503, vec![("retry-after", "1")], "secret-in-response"),
        _ => Answer::Full(200, vec![("set-cookie", "secret-in-response-header")], "secret-in-response"),
    })
    .await?;
    let (address, ops) = (free_address()?, free_address()?);
    let mut command = Command::new(program("hookyard")?);
    command.arg("run").envs(world.environment()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Our own words to the last, and those of the libraries that talk to receivers as far as anybody would ask.
    command.env(
        "HOOKYARD_LOG",
        "debug,hookyard=trace,hookyard_dispatcher=trace,hookyard_egress=trace,hookyard_admin=trace,hookyard_router=trace",
    );
    command.env("HOOKYARD_LISTEN", address.to_string()).env("HOOKYARD_OPS_LISTEN", ops.to_string());
    let mut running = command.spawn()?;
    let (mut said, mut told) = (running.stdout.take().context("output")?, running.stderr.take().context("output")?);
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        told.read_to_string(&mut all).and_then(|_| said.read_to_string(&mut all)).map(|_| all)
    });
    let api = Api::at(&format!("http://{address}"), "admin")?;
    await_ready(ops).await?;
    play(&world, &api).await?;
    let stop = Command::new("kill").args(["-TERM", &running.id().to_string()]).status()?;
    ensure!(stop.success() && running.wait()?.success(), "it did not end well");
    let all = reader.join().map_err(|_| anyhow::anyhow!("the output could not be read"))??;
    ensure!(all.lines().count() > 50 && all.contains("\"message\":\"delivered\""), "hardly anything was said: {all}");
    for line in all.lines() {
        for secret in SECRETS.iter().copied().chain([api.place().1]) {
            ensure!(!line.contains(secret), "{secret} is in: {line}");
        }
        let is_flat = serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["level"].is_string());
        ensure!(is_flat || !line.starts_with('{'), "no line of JSON: {line}");
    }
    Ok(())
}

/// Everything that is done to endpoints and events, well and badly.
async fn play(world: &World, api: &Api) -> Result<()> {
    let url = |path: &str| {
        let url = world.receiver.url(path).replace("http://", "http://user:secret-in-userinfo@");
        format!("{url}?token=secret-in-query")
    };
    let more = json!({
        "apiKey": {"header": "x-api-key", "value": "secret-in-api-key"},
        "headers": {"x-tenant": "secret-in-header"},
        "secret": "whsec_c2VjcmV0LWluLXNpZ25pbmcta2V5LW9mLWVuZHBvaW50",
    });
    for path in ["/ok", "/fails", "/moved", "/gone"] {
        api.endpoint("default", &url(path), more.clone()).await?;
    }
    let nobody = free_address()?;
    api.endpoint("default", &format!("http://user:secret-in-userinfo@{nobody}/?token=secret-in-query"), more.clone()).await?;
    api.endpoint("default", "http://user:secret-in-userinfo@nowhere.invalid/?token=secret-in-query", more.clone()).await?;
    for id in ["one", "two"] {
        let event = json!({"eventType": "secret.kind", "eventId": id, "payload": {"password": "secret-in-payload"}});
        api.post("/app/default/msg", &event).await?;
    }
    // What is refused is told, too.
    let schema = json!({"name": "strict.kind", "description": "", "schemas": {"1": {"type": "object", "properties": {"password": {"type": "number"}}}}, "validation": "reject"});
    api.post("/event-type", &schema).await?;
    let event = json!({"eventType": "strict.kind", "payload": {"password": "secret-in-payload"}});
    api.try_call(Method::POST, "/app/default/msg", Some(&event)).await?;
    api.try_call(Method::POST, "/app/default/msg", Some(&json!({"eventType": "secret-in-payload!", "payload": {}}))).await?;
    api.try_call(
        Method::POST,
        "/app/default/endpoint",
        Some(&json!({"url": "http://user:secret-in-userinfo@10.0.0.1/?secret-in-query"})),
    )
    .await?;
    api.with_token("secret-in-a-token").try_call(Method::GET, "/app", None).await?;
    if let Ok(amqp) = world.amqp().await {
        amqp.raw("strict.kind", "three", &[], br#"{"password": "secret-in-payload"}"#).await?;
        amqp.raw("bad kind!", "four", &[], b"secret-in-payload").await?;
    }
    let tested = json!({"url": url("/test"), "apiKey": {"header": "x-api-key", "value": "secret-in-api-key"}});
    api.post("/app/default/endpoint/test", &tested).await?;
    // All of them end: delivered, or dead after three attempts.
    eventually("everything ends", async || {
        let dead = api.get("/app/default/dead-letter").await.map_or(0, |page| page["data"].as_array().map_or(0, Vec::len));
        let ok = world.receiver.hits().iter().filter(|hit| hit.path == "/ok").count();
        dead >= 9 && ok >= 4
    })
    .await?;
    api.post("/app/default/dead-letter/replay", &json!({"filter": {}})).await?;
    Ok(())
}
