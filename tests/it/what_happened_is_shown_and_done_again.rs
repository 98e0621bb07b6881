//! What happened to messages is shown from every side, and can be done again: one by one, for a range, or for what was missed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::Answer;
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    messages_and_attempts_are_shown_from_every_side;
    a_resend_makes_one_more_attempt;
    recovering_an_endpoint_replays_what_failed_since;
    a_dead_letter_replayed_several_times_at_once_is_sent_once;
    a_message_expunged_on_its_way_arrives_whole;
    the_dead_letters_of_a_deleted_application_are_discarded;
    what_was_never_routed_to_an_endpoint_is_sent_to_it;
    dead_letters_are_counted_replayed_and_discarded_by_filter;
    an_endpoint_is_tried_out_before_and_after_it_is_saved;
    an_example_of_the_catalog_is_sent_to_one_endpoint;
}

fn data(page: &Value) -> Vec<Value> {
    page["data"].as_array().cloned().unwrap_or_default()
}

async fn count(api: &Api, path: &str) -> Result<usize> {
    Ok(data(&api.get(path).await?).len())
}

/// Waits until a list has this many items.
async fn listed(api: &Api, path: &str, wanted: usize) -> Result<()> {
    let what = format!("{path} has {wanted}");
    eventually(&what, async || count(api, path).await.is_ok_and(|found| found == wanted)).await
}

async fn task_ends(api: &Api, task: &Value) -> Result<Value> {
    let path = format!("/task/{}", task["id"].as_str().context("a task")?);
    eventually("the task is finished", async || api.get(&path).await.is_ok_and(|task| task["status"] == "finished")).await?;
    api.get(&path).await
}

async fn messages_and_attempts_are_shown_from_every_side(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |hit, _| Answer::Status(if hit.path == "/down" { 503 } else { 204 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let up = api.endpoint("default", &world.receiver.url("/up"), json!({"uid": "up"})).await?;
    let down = api.endpoint("default", &world.receiver.url("/down"), json!({"retrySchedule": [600]})).await?;
    let publish = async |event_type: &str, channels: &[&str]| {
        let body = json!({"eventType": event_type, "payload": {"n": 1}, "channels": channels});
        let answer = api.post("/app/default/msg", &body).await?;
        answer["id"].as_str().map(str::to_owned).context("an id")
    };
    let first = publish("user.created", &["eu"]).await?;
    publish("user.deleted", &[]).await?;
    publish("order.paid", &["us"]).await?;
    listed(&api, "/app/default/attempt", 6).await?;

    for (query, wanted) in [
        ("", 3),
        ("?channel=eu", 1),
        ("?event_types=user.created,order.paid", 2),
        ("?event_types=user.created&event_types=user.deleted", 2),
        ("?after=2200-01-01T00:00:00Z", 0),
        ("?before=2200-01-01T00:00:00Z", 3),
    ] {
        let found = count(&api, &format!("/app/default/msg{query}")).await?;
        ensure!(found == wanted, "msg{query}: {found}");
    }
    let shown = api.get(&format!("/app/default/msg/{first}?with_content=false")).await?;
    ensure!(shown["payload"] == json!({}), "{shown}");

    for (query, wanted) in [
        ("", 6),
        ("?status=0", 3),
        ("?status=2", 3),
        ("?status_code_class=500", 3),
        ("?channel=eu", 2),
        ("?event_types=order.paid", 2),
        ("?endpoint_id=up", 3),
        ("?endpoint_id=up&status=2", 0),
    ] {
        let found = count(&api, &format!("/app/default/attempt{query}")).await?;
        ensure!(found == wanted, "attempt{query}: {found}");
    }
    let of_message = data(&api.get(&format!("/app/default/attempt/msg/{first}?status=2")).await?);
    let attempt = of_message[0]["id"].as_str().context("an id")?;
    let one = api.get(&format!("/app/default/msg/{first}/attempt/{attempt}")).await?;
    ensure!(one["endpointId"] == json!(down) && one["responseStatusCode"] == 503, "{one}");

    let destinations = data(&api.get(&format!("/app/default/msg/{first}/endpoint")).await?);
    let standing = |id: &str| destinations.iter().find(|found| found["id"] == json!(id)).cloned().unwrap_or_default();
    ensure!(standing(&up)["statusText"] == "success" && standing(&up)["nextAttempt"].is_null(), "{destinations:?}");
    ensure!(standing(&down)["statusText"] == "pending" && standing(&down)["nextAttempt"].is_string(), "{destinations:?}");

    let attempted = data(&api.get("/app/default/endpoint/up/msg?limit=2").await?);
    ensure!(attempted.len() == 2 && attempted[0]["eventType"] == "order.paid", "{attempted:?}");
    let page = api.get("/app/default/endpoint/up/msg?limit=2").await?;
    let next = page["iterator"].as_str().context("an iterator")?;
    let rest = api.get(&format!("/app/default/endpoint/up/msg?limit=2&iterator={next}")).await?;
    ensure!(data(&rest).len() == 1 && data(&rest)[0]["id"] == json!(first) && rest["done"] == true, "{rest}");
    ensure!(count(&api, &format!("/app/default/endpoint/{down}/msg?status=1")).await? == 3);
    ensure!(count(&api, &format!("/app/default/endpoint/{down}/msg?status=0")).await? == 0);
    running.drain().await;
    Ok(())
}

async fn a_resend_makes_one_more_attempt(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, before| Answer::Status(if before < 1 { 204 } else { 500 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({"uid": "all"})).await?;
    let id = api.post("/app/default/msg", &json!({"eventType": "a", "payload": {}})).await?["id"].clone();
    let id = id.as_str().context("an id")?;
    let attempts = format!("/app/default/attempt/msg/{id}");
    listed(&api, &attempts, 1).await?;
    let (status, _) = api.try_call(Method::POST, &format!("/app/default/msg/{id}/endpoint/all/resend"), Some(&json!({}))).await?;
    ensure!(status == 202, "{status}");
    listed(&api, &attempts, 2).await?;
    let newest = data(&api.get(&attempts).await?)[0].clone();
    ensure!(newest["triggerType"] == 1 && newest["run"] == 1 && newest["responseStatusCode"] == 500, "{newest}");
    // A resend is not retried: it ends as a dead letter at once.
    listed(&api, "/app/default/dead-letter", 1).await?;
    ensure!(world.receiver.hits().iter().all(|hit| hit.id == id), "the same webhook-id");
    let (status, _) =
        api.try_call(Method::POST, &format!("/app/default/msg/msg_{}/endpoint/all/resend", "0".repeat(27)), None).await?;
    ensure!(status == 404, "{status}");
    running.drain().await;
    Ok(())
}

async fn recovering_an_endpoint_replays_what_failed_since(backend: Backend) -> Result<()> {
    let world =
        World::on_with(backend, |hit, before| Answer::Status(if hit.path == "/mended" && before < 1 { 500 } else { 204 }))
            .await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/mended"), json!({"uid": "mended", "retrySchedule": []})).await?;
    for number in 0..5 {
        world.publish(&api, "a", &format!("event-{number}"), "{}").await?;
    }
    listed(&api, "/app/default/dead-letter", 5).await?;
    let future = json!({"since": "2200-01-01T00:00:00Z"});
    let none = api.post("/app/default/endpoint/mended/recover", &future).await?;
    ensure!(task_ends(&api, &none).await?["begun"] == 0, "nothing failed since then");
    let recovered = api.post("/app/default/endpoint/mended/recover", &json!({"since": "2020-01-01T00:00:00Z"})).await?;
    ensure!(recovered["task"] == "endpoint.recover" && recovered["status"] == "running", "{recovered}");
    ensure!(task_ends(&api, &recovered).await?["begun"] == 5);
    eventually("each is delivered", async || world.receiver.hits().len() == 10).await?;
    listed(&api, "/app/default/dead-letter", 0).await?;
    let (status, answer) =
        api.try_call(Method::POST, "/app/default/endpoint/mended/recover", Some(&json!({"since": "soon"}))).await?;
    ensure!(status == 422, "{status} {answer}");
    running.drain().await;
    Ok(())
}

async fn what_was_never_routed_to_an_endpoint_is_sent_to_it(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/early"), json!({})).await?;
    for (number, event_type) in ["user.created", "order.paid", "user.deleted"].into_iter().enumerate() {
        world.publish(&api, event_type, &format!("event-{number}"), "{}").await?;
    }
    listed(&api, "/app/default/attempt", 3).await?;
    let late = json!({"uid": "late", "eventTypes": ["user.*"]});
    api.endpoint("default", &world.receiver.url("/late"), late).await?;
    for expected in [2, 0] {
        let body = json!({"since": "2020-01-01T00:00:00Z"});
        let task = api.post("/app/default/endpoint/late/replay-missing", &body).await?;
        ensure!(task_ends(&api, &task).await?["begun"] == expected, "asked a second time, nothing is missing");
    }
    eventually("both arrive", async || world.receiver.at("/late").len() == 2).await?;
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    ensure!(world.receiver.hits().len() == 5, "and nothing else");
    running.drain().await;
    Ok(())
}

async fn dead_letters_are_counted_replayed_and_discarded_by_filter(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, before| Answer::Status(if before < 1 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for uid in ["one", "two"] {
        api.endpoint("default", &world.receiver.url(&format!("/{uid}")), json!({"uid": uid, "retrySchedule": []})).await?;
    }
    for number in 0..4 {
        world.publish(&api, if number == 0 { "rare" } else { "usual" }, &format!("event-{number}"), "{}").await?;
    }
    let list = "/app/default/dead-letter";
    listed(&api, list, 8).await?;
    ensure!(count(&api, &format!("{list}?endpoint_id=one&event_type=usual")).await? == 3);
    ensure!(count(&api, &format!("{list}?reason=gone")).await? == 0);
    let replay = format!("{list}/replay");
    let filter = json!({"endpointId": "one", "eventType": "usual"});
    let dry = api.post(&replay, &json!({"filter": filter, "dryRun": true})).await?;
    ensure!(dry["count"] == 3 && dry["task"].is_null(), "{dry}");
    let real = api.post(&replay, &json!({"filter": filter})).await?;
    ensure!(real["count"] == 3, "{real}");
    ensure!(task_ends(&api, &json!({"id": real["task"]})).await?["begun"] == 3);
    // A task of an application is its own token's to see, by whatever name that knows it, and nobody else's.
    let task = format!("/task/{}", real["task"].as_str().context("a task")?);
    ensure!(api.scoped("app:default")?.get(&task).await?["begun"] == 3);
    ensure!(api.scoped("app:another")?.try_call(Method::GET, &task, None).await?.0 == 404);
    listed(&api, list, 5).await?;
    eventually("the three arrive", async || world.receiver.at("/one").len() == 7).await?;

    let discard = format!("{list}/discard");
    let dry = api.post(&discard, &json!({"filter": {"eventType": "rare"}, "dryRun": true})).await?;
    ensure!(dry["count"] == 2, "{dry}");
    let letters = data(&api.get(list).await?);
    let one = json!({"ids": [letters[0]["id"]]});
    let dry = api.post(&discard, &json!({"ids": [letters[0]["id"]], "dryRun": true})).await?;
    ensure!(dry["count"] == 1 && count(&api, list).await? == 5, "only counted: {dry}");
    ensure!(api.post(&discard, &one).await?["count"] == 1);
    ensure!(api.post(&discard, &one).await?["count"] == 0, "it is dead no longer");
    let rest = api.post(&discard, &json!({"filter": {}})).await?;
    ensure!(rest["count"] == 4, "{rest}");
    ensure!(task_ends(&api, &json!({"id": rest["task"]})).await?["begun"] == 4);
    ensure!(count(&api, list).await? == 0);
    for wrong in
        [json!({}), json!({"ids": [letters[0]["id"]], "filter": {}}), json!({"filter": {"status": 3}}), json!({"idz": []})]
    {
        let (status, answer) = api.try_call(Method::POST, &replay, Some(&wrong)).await?;
        ensure!(status == 422, "{wrong}: {status} {answer}");
    }
    ensure!(world.receiver.hits().len() == 11, "a discarded one is not sent");
    running.drain().await;
    Ok(())
}

async fn an_endpoint_is_tried_out_before_and_after_it_is_saved(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |hit, _| match hit.path.as_str() {
        "/teapot" => Answer::Full(418, vec![], "short and stout"),
        "/late" => Answer::Late(204, Duration::from_secs(10)),
        _ => Answer::Status(204),
    })
    .await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let unsaved = "/app/default/endpoint/test";
    let fields = json!({
        "url": world.receiver.url("/teapot"), "headers": {"X-Own": "hidden"}, "apiKey": {"header": "x-key", "value": "hidden"},
        "bodyFormat": "standard",
    });
    let answer = api.post(unsaved, &fields).await?;
    ensure!(answer["outcome"] == "http_4xx" && answer["responseStatusCode"] == 418, "{answer}");
    ensure!(answer["response"] == "short and stout", "{answer}");
    ensure!(!answer.to_string().contains("hidden"), "{answer}");
    ensure!(answer["body"].as_str().is_some_and(|body| body.contains("hookyard.test")), "{answer}");
    let hit = world.receiver.hits().into_iter().next().context("a request")?;
    ensure!(
        hit.headers["x-own"] == "hidden" && hit.headers["x-key"] == "hidden" && hit.headers.contains_key("webhook-signature")
    );
    let (status, _) = api.try_call(Method::POST, unsaved, Some(&json!({"url": "http://10.0.0.1/"}))).await?;
    ensure!(status == 422, "an address that may not be called: {status}");
    let late = json!({"url": world.receiver.url("/late"), "timeoutMs": 1000});
    ensure!(api.post(unsaved, &late).await?["outcome"] == "timeout");

    api.endpoint("default", &world.receiver.url("/ok"), json!({"uid": "saved", "disabled": true})).await?;
    let answer = api.post("/app/default/endpoint/saved/test", &json!({})).await?;
    ensure!(answer["outcome"] == "success" && answer["responseStatusCode"] == 204, "{answer}");
    ensure!(count(&api, "/app/default/attempt").await? == 0, "tests are not in the log");
    running.drain().await;
    Ok(())
}

async fn an_example_of_the_catalog_is_sent_to_one_endpoint(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for uid in ["one", "two"] {
        api.endpoint("default", &world.receiver.url(&format!("/{uid}")), json!({"uid": uid})).await?;
    }
    let entry = json!({"name": "user.created", "description": "Somebody signed up.", "sample": {"id": 7}, "groupName": "Users"});
    api.post("/event-type", &entry).await?;
    let message = api.post("/app/default/endpoint/one/send-example", &json!({"eventType": "user.created"})).await?;
    ensure!(message["payload"] == json!({"id": 7}), "{message}");
    eventually("it arrives", async || world.receiver.at("/one").len() == 1).await?;
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    ensure!(world.receiver.at("/two").is_empty(), "the others do not get it");
    ensure!(&world.receiver.at("/one")[0].body[..] == br#"{"id":7}"#);
    running.drain().await;
    Ok(())
}

async fn a_dead_letter_replayed_several_times_at_once_is_sent_once(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, before| Answer::Status(if before < 1 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({"retrySchedule": []})).await?;
    world.publish(&api, "a", "once", "{}").await?;
    listed(&api, "/app/default/dead-letter", 1).await?;
    let letters = data(&api.get("/app/default/dead-letter").await?);
    let one = json!({"ids": [letters[0]["id"]]});
    let all = json!({"filter": {}});
    let replay = async |body: &Value| api.post("/app/default/dead-letter/replay", body).await;
    let asked = futures_util::future::join_all([&one, &all, &one, &all, &one].map(replay)).await;
    for answer in asked {
        let answer = answer?;
        if answer["task"].is_string() {
            task_ends(&api, &json!({"id": answer["task"]})).await?;
        }
    }
    listed(&api, "/app/default/dead-letter", 0).await?;
    eventually("it arrives", async || world.receiver.hits().len() >= 2).await?;
    eventually("nothing waits", async || world.is_drained().await.unwrap_or(false)).await?;
    running.drain().await;
    ensure!(world.receiver.hits().len() == 2, "{} requests", world.receiver.hits().len());
    Ok(())
}

async fn a_message_expunged_on_its_way_arrives_whole(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, before| Answer::Status(if before < 1 { 500 } else { 204 })).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    for number in 0..10 {
        let message = json!({"eventType": "a", "payload": {"secret": number}});
        let id = api.post("/app/default/msg", &message).await?["id"].as_str().map(str::to_owned).context("an id")?;
        // At once: the router may not have seen it yet.
        api.call(Method::DELETE, &format!("/app/default/msg/{id}/content"), None).await?;
        ensure!(api.get(&format!("/app/default/msg/{id}")).await?["payload"] == json!({"expired": true}));
    }
    eventually("both attempts of each", async || world.receiver.hits().len() == 20).await?;
    ensure!(world.receiver.hits().iter().all(|hit| hit.body.starts_with(b"{\"secret\":")), "each whole");
    running.drain().await;
    Ok(())
}

async fn the_dead_letters_of_a_deleted_application_are_discarded(backend: Backend) -> Result<()> {
    let world = World::on_with(backend, |_, _| Answer::Status(500)).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let created = api.post("/app", &json!({"name": "Gone soon", "uid": "gone"})).await?;
    api.endpoint("gone", &world.receiver.url("/all"), json!({"retrySchedule": []})).await?;
    api.post("/app/gone/msg", &json!({"eventType": "a", "payload": {}})).await?;
    listed(&api, "/app/gone/dead-letter", 1).await?;
    api.call(Method::DELETE, "/app/gone", None).await?;
    let app = created["id"].as_str().context("an id")?.parse()?;
    eventually("nothing is dead any more", async || world.dead_in_journal(app).await.is_ok_and(|count| count == 0)).await?;
    running.drain().await;
    Ok(())
}
