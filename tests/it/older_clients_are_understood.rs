//! What clients of other releases and other makers send is understood; what restricts and is not understood is refused.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use hookyard_e2e::{Api, Backend, World, eventually};
use lapin::BasicProperties;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

on_both_backends! {
    older_names_count_and_are_shown_again;
    a_restriction_that_nobody_knows_is_refused;
    a_message_is_found_by_the_publishers_own_id;
    an_id_is_accepted_once_whoever_is_faster;
    old_paths_lead_where_the_new_ones_do;
    cloud_events_are_published_over_http;
    tags_are_kept_and_found_by;
    a_raw_payload_is_delivered_as_it_is;
}

/// Posts posted at the same moment under one id.
const AT_ONCE: usize = 16;

async fn older_names_count_and_are_shown_again(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    // Every path of old releases ends with a slash.
    let app = api.post("/app/", &json!({"name": "Old", "uid": "old", "rateLimit": 50})).await?;
    ensure!(app["rateLimit"] == 50 && app["throttleRate"] == 50, "{app}");
    let given = json!({"url": world.receiver.url("/old"), "filterTypes": ["order.paid"], "rateLimit": 100, "version": 1});
    let made = api.post("/app/old/endpoint/", &given).await?;
    let id = made["id"].as_str().context("an id")?;
    let path = format!("/app/old/endpoint/{id}/");
    for shown in [&made, &api.get(&path).await?] {
        ensure!(shown["filterTypes"] == json!(["order.paid"]) && shown["eventTypes"] == shown["filterTypes"], "{shown}");
        ensure!(shown["rateLimit"] == 100 && shown["throttleRate"] == 100, "{shown}");
    }
    // Who reads both names and changes one means that one.
    for (name, value, filters, rate) in [
        ("throttleRate", json!(7), json!(["order.paid"]), json!(7)),
        ("rateLimit", json!(8), json!(["order.paid"]), json!(8)),
        ("filterTypes", json!(["a"]), json!(["a"]), json!(8)),
        ("eventTypes", json!(["order.paid", "b"]), json!(["order.paid", "b"]), json!(8)),
        ("rateLimit", Value::Null, json!(["order.paid", "b"]), Value::Null),
    ] {
        let mut read = api.get(&path).await?;
        read[name] = value;
        let written = api.call(Method::PUT, &path, Some(&read)).await?;
        ensure!(written["eventTypes"] == filters && written["throttleRate"] == rate, "{name}: {written}");
    }
    let both = json!({"url": world.receiver.url("/old"), "filterTypes": ["a"], "eventTypes": ["b"]});
    let (status, answer) = api.try_call(Method::PUT, &path, Some(&both)).await?;
    ensure!(status == 422, "{status} {answer}");
    for (id, event_type) in [("1", "order.sent"), ("2", "order.paid")] {
        let message = json!({"eventType": event_type, "eventId": id, "payload": {}});
        api.post("/app/old/msg/?with_content=false", &message).await?;
    }
    eventually("what passes the filter is there", async || !world.receiver.hits().is_empty()).await?;
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    ensure!(world.receiver.hits().len() == 1, "a filter under its older name is a filter");
    for query in
        ["event_types=order.paid", "event_types[]=order.paid", "event_types%5B0%5D=order.paid", "event_types=a,order.paid"]
    {
        let page = api.get(&format!("/app/old/msg?{query}")).await?;
        ensure!(page["data"].as_array().map(Vec::len) == Some(1) && page["data"][0]["eventId"] == "2", "{query}: {page}");
    }
    running.drain().await;
    Ok(())
}

async fn a_restriction_that_nobody_knows_is_refused(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let url = world.receiver.url("/x");
    let refused = [
        ("/app/default/endpoint", json!({"url": url, "chanels": ["a"]})),
        ("/app/default/endpoint", json!({"url": url, "event_types": ["a"]})),
        ("/app/default/endpoint", json!({"url": url, "ipAllowList": ["10.0.0.0/8"]})),
        ("/app", json!({"name": "x", "maxMessages": 7})),
        ("/app/default/msg", json!({"eventType": "a", "payload": {}, "deliverAt": "2030-01-01T00:00:00Z"})),
        ("/auth/app-portal-access/default", json!({"readOnly": true})),
        ("/auth/app-portal-access/default", json!({"capabilities": ["ViewBase"]})),
        ("/auth/app-portal-access/default", json!({"expiry": 10_000_000})),
    ];
    for (path, body) in refused {
        let (status, answer) = api.try_call(Method::POST, path, Some(&body)).await?;
        ensure!(status == 422 && answer["detail"][0]["msg"].is_string(), "{path} {body}: {status} {answer}");
    }
    let harmless = json!({"url": url, "uid": "x", "colour": "red", "expiry": null});
    let response = api.respond(Method::POST, "/app/default/endpoint", Some(&harmless)).await?;
    let named = response.headers().get("hookyard-ignored").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    ensure!(response.status() == StatusCode::CREATED && named == "colour", "{} {named}", response.status());
    api.post("/event-type", &json!({"name": "order.paid", "description": "Paid"})).await?;
    let typed = json!({"url": url, "eventTypes": ["order.paid", "order.payd", "user.*"]});
    let response = api.respond(Method::POST, "/app/default/endpoint", Some(&typed)).await?;
    ensure!(response.headers()["hookyard-unknown-types"] == "order.payd", "{:?}", response.headers());
    let lists =
        ["/app/default/msg", "/app/default/attempt", "/app/default/endpoint", "/app/default/dead-letter", "/app", "/event-type"];
    for list in lists {
        for query in ["nonsense=1", "event_id=7", "limit=5&colour=red"] {
            let (status, answer) = api.try_call(Method::GET, &format!("{list}?{query}"), None).await?;
            ensure!(status == 422 && answer["detail"][0]["loc"][0] == "query", "{list}?{query}: {status} {answer}");
        }
        api.get(&format!("{list}?limit=5")).await?;
    }
    let (status, answer) = api.try_call(Method::POST, "/auth/logout", None).await?;
    ensure!(status == 403, "a server's token does not log out: {status} {answer}");
    let portal = api.post("/auth/app-portal-access/default/", &json!({"expiry": 3600, "readOnly": false})).await?;
    let own = api.with_token(portal["token"].as_str().context("a token")?);
    own.get("/app/default/endpoint").await?;
    own.call(Method::POST, "/auth/logout/", None).await?;
    running.drain().await;
    Ok(())
}

async fn a_message_is_found_by_the_publishers_own_id(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let endpoint = api.endpoint("default", &world.receiver.url("/x"), json!({})).await?;
    let message = api.post("/app/default/msg", &json!({"eventType": "a", "eventId": "order-1", "payload": {"n": 1}})).await?;
    eventually("it is delivered", async || world.receiver.hits().len() == 1).await?;
    let attempts = async || api.get("/app/default/attempt/msg/order-1").await.ok()?["data"][0]["id"].as_str().map(str::to_owned);
    eventually("its attempt is written down", async || attempts().await.is_some()).await?;
    let attempt = attempts().await.context("an attempt")?;
    ensure!(api.get("/app/default/msg/order-1").await?["id"] == message["id"]);
    for path in ["/endpoint", "/attempt", &format!("/endpoint/{endpoint}/attempt")] {
        let page = api.get(&format!("/app/default/msg/order-1{path}")).await?;
        ensure!(page["data"].as_array().is_some_and(|items| items.len() == 1), "{path}: {page}");
    }
    ensure!(api.get(&format!("/app/default/msg/order-1/attempt/{attempt}")).await?["id"] == *attempt);
    api.call(Method::DELETE, &format!("/app/default/msg/order-1/attempt/{attempt}/content"), None).await?;
    let expunged = api.get(&format!("/app/default/msg/order-1/attempt/{attempt}")).await?;
    ensure!(expunged["response"] == "EXPUNGED", "{expunged}");
    api.post(&format!("/app/default/msg/order-1/endpoint/{endpoint}/resend"), &json!({})).await?;
    eventually("it is sent again", async || world.receiver.hits().len() == 2).await?;
    api.call(Method::DELETE, "/app/default/msg/order-1/content", None).await?;
    for path in ["/app/default/msg/order-2", "/app/default/attempt/msg/order-2", "/app/hookyard-operations/msg/order-1"] {
        let (status, answer) = api.try_call(Method::GET, path, None).await?;
        ensure!(status == 404, "{path}: {status} {answer}");
    }
    // What a CloudEvent is shown as finds it too.
    let event = json!({"specversion": "1.0", "id": "4711", "source": "/shop orders", "type": "a", "data": {}});
    if backend == Backend::Cluster {
        let amqp = world.amqp().await?;
        let properties = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        amqp.publish("x", properties, event.to_string().as_bytes()).await?;
        eventually("it is routed", async || api.get("/app/default/msg/%2Fshop%20orders%204711").await.is_ok()).await?;
    }
    running.drain().await;
    Ok(())
}

async fn an_id_is_accepted_once_whoever_is_faster(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for round in 0..5 {
        let post = async |number: usize| {
            let message = json!({"eventType": "a", "eventId": format!("race-{round}"), "payload": {"number": number}});
            api.try_call(Method::POST, "/app/default/msg", Some(&message)).await
        };
        let answers = try_join_all((0..AT_ONCE).map(post)).await?;
        let (accepted, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 202);
        ensure!(accepted.len() == 1, "{} accepted", accepted.len());
        let id = &accepted[0].1["id"];
        for (status, answer) in others {
            ensure!(status == 409 && answer["messageId"] == *id && answer["sameContent"] == false, "{status} {answer}");
        }
        let again = json!({"eventType": "a", "eventId": format!("race-{round}"), "payload": accepted[0].1["payload"]});
        let (status, answer) = api.try_call(Method::POST, "/app/default/msg", Some(&again)).await?;
        ensure!(status == 409 && answer["messageId"] == *id && answer["sameContent"] == true, "{status} {answer}");
    }
    // A batch is judged as if its messages came one by one.
    let message = |id: &str, number: u8| json!({"eventType": "a", "eventId": id, "payload": {"number": number}});
    let batch = json!({"messages": [message("x", 1), message("y", 1), message("x", 1), message("x", 2), message("y", 1)]});
    let results = api.post("/app/default/msg/batch", &batch).await?;
    let statuses: Vec<_> =
        results["results"].as_array().context("results")?.iter().map(|result| result["status"].as_u64()).collect();
    ensure!(statuses == [202, 202, 409, 409, 409].map(Some), "{results}");
    ensure!(results["results"][3]["error"]["sameContent"] == false, "{results}");
    let ids: BTreeSet<_> = api.get("/app/default/msg?limit=250").await?["data"]
        .as_array()
        .context("messages")?
        .iter()
        .map(|message| message["eventId"].to_string())
        .collect();
    ensure!(ids.len() == 7, "{ids:?}");
    running.drain().await;
    Ok(())
}

async fn old_paths_lead_where_the_new_ones_do(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let way = api.post("/auth/dashboard-access/default/", &json!({})).await?;
    ensure!(way["url"].is_string() && way["token"].is_string(), "{way}");
    let endpoint = api.endpoint("default", &world.receiver.url("/x"), json!({})).await?;
    let headers = format!("/app/default/endpoint/{endpoint}/headers");
    api.call(Method::PUT, &headers, Some(&json!({"headers": {"x-a": "1", "x-b": "2", "x-c": "3"}}))).await?;
    api.call(Method::PATCH, &headers, Some(&json!({"headers": {"x-a": null}, "deleteHeaders": ["X-B"]}))).await?;
    ensure!(api.get(&headers).await?["headers"] == json!({"x-c": "3"}));
    let since = json!({"since": "2026-01-01T00:00:00Z"});
    for (path, task) in [("recover", "endpoint.recover"), ("replay-missing", "endpoint.replay")] {
        let begun = api.post(&format!("/app/default/endpoint/{endpoint}/{path}/"), &since).await?;
        ensure!(begun["task"] == task, "{begun}");
    }
    let finished = async || api.get("/background-task?limit=1&status=finished").await;
    eventually("both end", async || finished().await.is_ok_and(|page| page["done"] == false)).await?;
    let first = finished().await?;
    ensure!(first["data"][0]["task"] == "endpoint.replay" && first["data"][0]["data"]["messagesSent"] == 0, "{first}");
    let iterator = first["iterator"].as_str().context("an iterator")?;
    let second = api.get(&format!("/background-task?limit=5&iterator={iterator}")).await?;
    ensure!(second["data"].as_array().map(Vec::len) == Some(1) && second["data"][0]["task"] == "endpoint.recover", "{second}");
    let id = second["data"][0]["id"].as_str().context("an id")?;
    ensure!(api.get(&format!("/background-task/{id}")).await? == second["data"][0]);
    running.drain().await;
    Ok(())
}

async fn cloud_events_are_published_over_http(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/eu"), json!({"channels": ["eu"]})).await?;
    let event = |id: &str, more: &str| {
        format!(r#"{{"specversion": "1.0", "id": "{id}", "source": "/s", "type": "order.paid", "data": {{"n": 1.10}}{more}}}"#)
    };
    let send = async |content_type: &str, body: String| api.send_as("/app/default/msg", content_type, body.into_bytes()).await;
    let channel = r#", "hookyardchannels": "eu""#;
    let (status, answer) = send("application/cloudevents+json; charset=utf-8", event("1", channel)).await?;
    ensure!(status == 202 && answer["eventId"] == "/s 1" && answer["channels"] == json!(["eu"]), "{status} {answer}");
    let (status, again) = send("application/cloudevents+json", event("1", channel)).await?;
    ensure!(status == 409 && again["messageId"] == answer["id"] && again["sameContent"] == true, "{status} {again}");
    let batch = format!("[{}, {}, {}, {}]", event("2", channel), event("2", channel), event("3", ""), r#"{"id": "4"}"#);
    let (status, answer) = send("application/cloudevents-batch+json", batch).await?;
    let statuses: Vec<_> =
        answer["results"].as_array().context("results")?.iter().map(|result| result["status"].as_u64()).collect();
    ensure!(status == 202 && statuses == [202, 409, 202, 400].map(Some), "{status} {answer}");
    let (base, token) = api.place();
    let binary = reqwest::Client::builder().no_proxy().build()?.post(format!("{base}/api/v1/app/default/msg")).bearer_auth(token);
    let binary =
        binary.header("ce-specversion", "1.0").header("ce-id", "5").header("ce-source", "/s").header("ce-type", "order.paid");
    let answer = binary.header("ce-hookyardchannels", "eu").header("content-type", "text/plain").body("as it is").send().await?;
    ensure!(answer.status() == 202, "{}", answer.text().await?);
    let (status, answer) = send("application/cloudevents+json", event("6", r#", "hookyardapp": "another""#)).await?;
    ensure!(status == 422, "another application than the path's: {status} {answer}");
    eventually("those on the channel are delivered", async || world.receiver.hits().len() == 3).await?;
    ensure!(world.receiver.hits().iter().filter(|hit| hit.body[..] == *br#"{"n": 1.10}"#).count() == 2);
    ensure!(world.receiver.hits().iter().any(|hit| hit.body[..] == *b"as it is" && hit.headers["content-type"] == "text/plain"));
    running.drain().await;
    Ok(())
}

async fn tags_are_kept_and_found_by(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for (id, tags) in [("1", json!(["blue", "a/b"])), ("2", json!(["red"])), ("3", json!([]))] {
        api.post("/app/default/msg", &json!({"eventType": "a", "eventId": id, "payload": {}, "tags": tags})).await?;
    }
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    for (tag, ids) in [("blue", vec!["1"]), ("a/b", vec!["1"]), ("red", vec!["2"]), ("re", vec![])] {
        let page = api.get(&format!("/app/default/msg?tag={tag}")).await?;
        let found: Vec<_> = page["data"].as_array().context("data")?.iter().filter_map(|item| item["eventId"].as_str()).collect();
        ensure!(found == ids, "{tag}: {page}");
    }
    ensure!(api.get("/app/default/msg/1").await?["tags"] == json!(["a/b", "blue"]));
    let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let (status, answer) =
        api.try_call(Method::POST, "/app/default/msg", Some(&json!({"eventType": "a", "payload": {}, "tags": many}))).await?;
    ensure!(status == 422 && answer["detail"][0]["loc"][1] == "tags", "{status} {answer}");
    running.drain().await;
    Ok(())
}

async fn a_raw_payload_is_delivered_as_it_is(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/x"), json!({})).await?;
    let xml = "<order total=\"1.10\"/>";
    let params = json!({"rawPayload": xml, "headers": {"content-type": "text/xml"}});
    api.post("/app/default/msg", &json!({"eventType": "a", "payload": {}, "transformationsParams": params})).await?;
    api.post("/app/default/msg", &json!({"eventType": "a", "data": {"b": 1}})).await?;
    eventually("both are delivered", async || world.receiver.hits().len() == 2).await?;
    let hits = world.receiver.hits();
    let raw = hits.iter().find(|hit| hit.body[..] == *xml.as_bytes()).context("the raw payload")?;
    ensure!(raw.headers.get("content-type").is_some_and(|value| value == "text/xml"), "{:?}", raw.headers);
    ensure!(hits.iter().any(|hit| hit.body[..] == *br#"{"b":1}"#));
    running.drain().await;
    Ok(())
}
