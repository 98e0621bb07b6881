//! Applications, endpoints, secrets and tokens over the API.

use anyhow::{Context, Result, ensure};
use hookyard_e2e::world::redis_at;
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

on_both_backends! {
    applications_and_endpoints_live_their_lives;
    lists_page_in_both_directions;
    a_rotated_secret_and_the_new_one_both_verify;
    tokens_allow_what_their_scope_says;
    secrets_are_nowhere_in_the_store_and_never_shown_again;
}

async fn applications_and_endpoints_live_their_lives(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let app = api.post("/app", &json!({"name": "Acme", "uid": "acme", "metadata": {"plan": "pro"}})).await?;
    ensure!(api.get("/app/acme").await? == app, "by uid as by id");
    ensure!(api.get("/app").await?["data"].as_array().is_some_and(|apps| apps.len() == 3), "and the two that always exist");
    let (status, taken) = api.try_call(Method::POST, "/app", Some(&json!({"name": "Other", "uid": "acme"}))).await?;
    ensure!(status == 409, "{taken}");
    let endpoint = json!({"url": "https://example.com/hook?token=x", "uid": "main", "eventTypes": ["user.*"], "name": "Main"});
    let created = api.post("/app/acme/endpoint", &endpoint).await?;
    ensure!(created["eventTypes"] == json!(["user.*"]) && created["state"] == "active", "{created}");
    // A PUT by a client that does not know our fields keeps them.
    let replaced =
        api.call(Method::PUT, "/app/acme/endpoint/main", Some(&json!({"url": "https://example.com/v2", "uid": "main"}))).await?;
    ensure!(replaced["name"] == "Main" && replaced["eventTypes"] == Value::Null, "{replaced}");
    // Named by its uid, it keeps it: the same PUT twice is the same endpoint, and the same application, twice.
    for _ in 0..2 {
        let again = api.call(Method::PUT, "/app/acme/endpoint/main", Some(&json!({"url": "https://example.com/v2"}))).await?;
        ensure!(again["id"] == created["id"] && again["uid"] == "main", "{again}");
        let app = api.call(Method::PUT, "/app/acme", Some(&json!({"name": "Acme"}))).await?;
        ensure!(app["uid"] == "acme", "{app}");
    }
    let patched = api.call(Method::PATCH, "/app/acme/endpoint/main", Some(&json!({"disabled": true}))).await?;
    ensure!(patched["url"] == "https://example.com/v2" && patched["state"] == "inactive", "{patched}");
    api.call(Method::DELETE, "/app/acme/endpoint/main", None).await?;
    let (status, _) = api.try_call(Method::GET, "/app/acme/endpoint/main", None).await?;
    ensure!(status == 404);
    api.call(Method::DELETE, "/app/acme", None).await?;
    let (status, gone) = api.try_call(Method::GET, "/app/acme", None).await?;
    ensure!(status == 404 && gone["code"] == "not_found", "{gone}");
    running.drain().await;
    Ok(())
}

async fn lists_page_in_both_directions(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(api.endpoint("default", &format!("https://example.com/{number}"), json!({})).await?);
    }
    let page = async |query: String| -> Result<(Vec<String>, bool, Value)> {
        let page = api.get(&format!("/app/default/endpoint?limit=3{query}")).await?;
        let names =
            page["data"].as_array().context("a list")?.iter().map(|e| e["url"].as_str().unwrap_or_default().to_owned()).collect();
        Ok((names, page["done"] == true, page))
    };
    let (first, done, answer) = page(String::new()).await?;
    ensure!(first.len() == 3 && !done);
    let (second, done, answer) = page(format!("&iterator={}", answer["iterator"].as_str().context("an iterator")?)).await?;
    ensure!(second.len() == 3 && !done);
    let (third, done, _) = page(format!("&iterator={}", answer["iterator"].as_str().context("an iterator")?)).await?;
    ensure!(third.len() == 1 && done);
    let (back, _, _) = page(format!("&iterator={}", answer["prevIterator"].as_str().context("an iterator")?)).await?;
    ensure!(back == first, "{back:?}");
    let mut all: Vec<String> = [first, second, third].concat();
    all.sort();
    ensure!(all == (0..7).map(|n| format!("https://example.com/{n}")).collect::<Vec<_>>());
    running.drain().await;
    Ok(())
}

async fn a_rotated_secret_and_the_new_one_both_verify(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let id = api.endpoint("default", &world.receiver.url("/r"), json!({})).await?;
    let old = api.secret("default", &id).await?;
    let rotated = api.post(&format!("/app/default/endpoint/{id}/secret/rotate"), &json!({})).await?;
    let new = api.secret("default", &id).await?;
    ensure!(new != old && rotated["key"] == new.as_str());
    world.publish(&api, "a", "rotated", "{}").await?;
    eventually("the event", async || world.receiver.hits().len() == 1).await?;
    let hit = &world.receiver.hits()[0];
    for secret in [&old, &new] {
        Webhook::new(secret)?.verify(&hit.body, &hit.headers)?;
    }
    running.drain().await;
    Ok(())
}

async fn tokens_allow_what_their_scope_says(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.post("/app", &json!({"name": "A", "uid": "a"})).await?;
    let (publish, own) = (api.scoped("publish")?, api.scoped("app:a")?);
    let message = json!({"eventType": "t", "payload": {}});
    let status = async |api: &Api, method: Method, path: &str, body: Option<&Value>| -> Result<u16> {
        Ok(api.try_call(method, path, body).await?.0.as_u16())
    };
    ensure!(status(&publish, Method::POST, "/app/a/msg", Some(&message)).await? == 202);
    ensure!(status(&publish, Method::GET, "/app/a/endpoint", None).await? == 403);
    ensure!(status(&own, Method::GET, "/app/a/endpoint", None).await? == 200);
    ensure!(status(&own, Method::GET, "/app/default/endpoint", None).await? == 403);
    ensure!(status(&own, Method::GET, "/app", None).await? == 403);
    ensure!(status(&own, Method::DELETE, "/app/a", None).await? == 403);
    let nobody = reqwest::get(format!("http://{}/api/v1/app", running.api.context("an API")?)).await?;
    ensure!(nobody.status() == 401 && nobody.headers().contains_key("hookyard-request-id"));
    running.drain().await;
    Ok(())
}

async fn secrets_are_nowhere_in_the_store_and_never_shown_again(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let fields = json!({
        "headers": {"x-region": "eu", "authorization": "Bearer hunter2-header"},
        "apiKey": {"header": "x-api-key", "value": "hunter2-key"},
    });
    let id = api.endpoint("default", "https://user:hunter2-url@example.com/", fields).await?;
    let shown = api.get(&format!("/app/default/endpoint/{id}")).await?.to_string();
    ensure!(!shown.contains("hunter2"), "{shown}");
    let headers = api.get(&format!("/app/default/endpoint/{id}/headers")).await?;
    ensure!(headers == json!({"headers": {"x-region": "eu"}, "sensitive": ["authorization"]}), "{headers}");
    running.drain().await;
    nothing_secret_is_kept(&world).await
}

/// Whatever the store holds, of any kind.
async fn nothing_secret_is_kept(world: &World) -> Result<()> {
    let is_secret = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains("hunter2") || text.contains("whsec_")
    };
    let Some(redis) = &world.redis else {
        let file = std::fs::read(world.config().data_dir.join("hookyard.db"))?;
        ensure!(String::from_utf8_lossy(&file).contains("x-region") || file.len() > 4096, "it holds something");
        ensure!(!is_secret(&file));
        return Ok(());
    };
    let mut store = redis_at(&redis.url()).await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*directory*").query_async(&mut store).await?;
    ensure!(!keys.is_empty());
    for key in keys {
        let dump: Vec<Vec<u8>> = redis::cmd("HGETALL").arg(&key).query_async(&mut store).await?;
        ensure!(!is_secret(&dump.concat()), "{key}");
    }
    Ok(())
}
