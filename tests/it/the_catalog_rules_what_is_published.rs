//! What the catalog says of a type counts at both doors, from the next event on; what it does not know it learns from traffic.

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    an_event_that_breaks_its_schema_is_refused_or_counted_over_http;
    a_type_seen_first_in_traffic_appears_with_the_shape_of_its_data_only;
}

fn order(validation: &str) -> Value {
    let amount = json!({"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}});
    json!({"description": "An order", "schemas": {"1": {"type": "null"}, "2": amount}, "validation": validation})
}

async fn describe(api: &Api, name: &str, fields: &Value) -> Result<()> {
    api.call(Method::PUT, &format!("/event-type/{name}"), Some(fields)).await.map(drop)
}

async fn an_event_that_breaks_its_schema_is_refused_or_counted_over_http(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/hook"), json!({})).await?;
    let publish = async |amount: Value| {
        let body = json!({"eventType": "order.paid", "payload": {"amount": amount}});
        api.try_call(Method::POST, "/app/default/msg", Some(&body)).await
    };
    let is_refused = async |field: &str| -> Result<bool> {
        let (status, answer) = publish(json!("hunter2")).await?;
        ensure!(status == 202 || !answer.to_string().contains("hunter2"), "the answer names a value: {answer}");
        Ok(status == 422 && answer["detail"][0]["loc"] == json!(["body", field]))
    };
    describe(&api, "order.paid", &order("reject")).await?;
    ensure!(is_refused("payload").await? && publish(json!(1)).await?.0 == 202);
    let batch = json!({"messages": [
        {"eventType": "order.paid", "payload": {"amount": 1}},
        {"eventType": "order.paid", "payload": {}},
    ]});
    let results = api.post("/app/default/msg/batch", &batch).await?;
    let statuses: Vec<_> = (0..2).map(|index| results["results"][index]["status"].as_u64()).collect();
    ensure!(statuses == [Some(202), Some(422)], "{results}");
    // Each change counts for the next event.
    describe(&api, "order.paid", &order("warn")).await?;
    ensure!(!is_refused("payload").await?);
    describe(&api, "order.paid", &order("off")).await?;
    ensure!(!is_refused("payload").await?);
    api.call(Method::DELETE, "/event-type/order.paid", None).await?;
    ensure!(is_refused("eventType").await? && publish(json!(1)).await?.0 == 422, "archived");
    eventually("four arrive", async || world.receiver.hits().len() >= 4).await?;
    let metrics = String::from_utf8(running.metrics.render())?;
    running.drain().await;
    ensure!(world.receiver.hits().len() == 4, "what was refused went nowhere");
    ensure!(metrics.contains(r#"hookyard_events_warned_total{reason="schema_violation",source="http"} 1"#), "{metrics}");
    ensure!(metrics.contains(r#"hookyard_events_rejected_total{reason="schema_violation",source="http"} 2"#));
    ensure!(metrics.contains(r#"hookyard_events_rejected_total{reason="archived_type",source="http"} 2"#));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_amqp_what_must_fit_is_rejected_and_what_is_archived_is_still_routed() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/hook"), json!({})).await?;
    describe(&api, "order.paid", &order("reject")).await?;
    describe(&api, "order.old", &order("warn")).await?;
    api.call(Method::DELETE, "/event-type/order.old", None).await?;
    let amqp = world.amqp().await?;
    amqp.raw("order.paid", "evt-1", &[], br#"{"amount": "hunter2"}"#).await?;
    amqp.raw("order.paid", "evt-2", &[], b"not JSON").await?;
    amqp.raw("order.paid", "evt-3", &[], br#"{"amount": 3}"#).await?;
    amqp.raw("order.old", "evt-4", &[], br#"{"amount": null}"#).await?;
    eventually("two arrive", async || world.receiver.hits().len() >= 2).await?;
    eventually("both are rejected", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 2)).await?;
    let metrics = String::from_utf8(running.metrics.render())?;
    // Published once more under its id, it is refused once more.
    amqp.raw("order.paid", "evt-1", &[], br#"{"amount": "hunter2"}"#).await?;
    eventually("it is rejected again", async || amqp.depth("rejected").await.is_ok_and(|depth| depth == 3)).await?;
    running.drain().await;
    ensure!(world.receiver.hits().len() == 2);
    let rejected = amqp.take_all("rejected").await?;
    let bodies = [&br#"{"amount": "hunter2"}"#[..], b"not JSON", br#"{"amount": "hunter2"}"#];
    for (found, body) in rejected.iter().zip(bodies) {
        ensure!(found.header("hookyard-reason") == Some("schema_violation") && found.body == body, "{found:?}");
        ensure!(!found.header("hookyard-detail").context("a detail")?.contains("hunter2"));
    }
    for reason in ["schema_violation", "archived_type"] {
        let line = format!(r#"hookyard_events_warned_total{{reason="{reason}",source="amqp"}} 1"#);
        ensure!(metrics.contains(&line), "{line}");
    }
    Ok(())
}

async fn a_type_seen_first_in_traffic_appears_with_the_shape_of_its_data_only(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    describe(&api, "known", &json!({"description": "Saved before"})).await?;
    for (name, id) in [("known", "1"), ("seen", "2"), ("seen", "3")] {
        world.publish(&api, name, id, r#"{"id": 7, "by": {"name": "Zoë"}}"#).await?;
    }
    eventually("it is discovered", async || api.get("/event-type/seen").await.is_ok()).await?;
    let seen = api.get("/event-type/seen").await?;
    let shape = json!({"type": "object", "properties": {
        "id": {"type": "integer"},
        "by": {"type": "object", "properties": {"name": {"type": "string"}}},
    }});
    ensure!(seen["discovered"] == true && seen["schemas"] == json!({"1": shape}) && seen["validation"] == "off", "{seen}");
    ensure!(!seen.to_string().contains("Zo"), "{seen}");
    let known = api.get("/event-type/known").await?;
    ensure!(known["discovered"] == false && known.get("schemas").is_none(), "{known}");
    // It is the administrators' until one of them saves it.
    let app = api.get("/app/default").await?;
    let portal = api.scoped(&format!("app:{}", app["id"].as_str().context("an id")?))?;
    ensure!(portal.try_call(Method::GET, "/event-type/seen", None).await?.0 == 404);
    ensure!(portal.get("/event-type").await?["data"].as_array().context("a list")?.len() == 1);
    api.call(Method::PATCH, "/event-type/seen", Some(&json!({"description": "Somebody was seen"}))).await?;
    ensure!(portal.get("/event-type/seen").await?["schemas"] == json!({"1": shape}));
    // Removed, it is discovered again when it comes again.
    api.call(Method::DELETE, "/event-type/seen?expunge=true", None).await?;
    world.publish(&api, "seen", "4", "[]").await?;
    eventually("it is discovered again", async || {
        api.get("/event-type/seen").await.is_ok_and(|seen| seen["schemas"] == json!({"1": {"type": "array"}}))
    })
    .await?;
    running.drain().await;
    Ok(())
}
