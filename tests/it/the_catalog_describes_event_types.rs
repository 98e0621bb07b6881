//! The event catalog: described by hand or from a file, archived, shown to whom it concerns.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::{Api, Backend, World, eventually};
use reqwest::Method;
use serde_json::{Value, json};

on_both_backends! {
    the_example_catalogs_are_imported_whole_and_exported_as_they_were;
    samples_and_schemas_keep_their_text;
    an_import_with_a_mistake_changes_nothing_and_says_where_it_is;
}

/// The example catalogs, and how many event types the products they follow document.
const CATALOGS: [(&str, usize); 4] = [("unit21", 23), ("ciam", 90), ("payments", 8), ("complyadvantage-mesh", 3)];

fn file(name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(format!("{}/../deploy/catalogs/{name}.yaml", env!("CARGO_MANIFEST_DIR")))?)
}

async fn import(api: &Api, query: &str, kind: &str, text: String) -> Result<(u16, Value)> {
    let (status, answer) = api.send_as(&format!("/event-type/import{query}"), kind, text.into_bytes()).await?;
    Ok((status.as_u16(), answer))
}

fn count(answer: &Value, field: &str) -> usize {
    answer[field].as_array().map_or(0, Vec::len)
}

async fn the_example_catalogs_are_imported_whole_and_exported_as_they_were(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let mut all = 0;
    for (name, wanted) in CATALOGS {
        let (status, tried) = import(&api, "?dry_run=true", "application/yaml", file(name)?).await?;
        ensure!(status == 200 && count(&tried, "created") == wanted && tried["dryRun"] == true, "{name}: {status} {tried}");
        let (status, done) = import(&api, "", "application/yaml", file(name)?).await?;
        ensure!(status == 200 && count(&done, "created") == wanted && done["dryRun"] == false, "{name}: {status} {done}");
        let (_, again) = import(&api, "", "application/yaml", file(name)?).await?;
        ensure!(count(&again, "created") + count(&again, "updated") == 0 && again["unchanged"] == wanted, "{name}: {again}");
        all += wanted;
    }
    let exported = api.get("/event-type/export").await?;
    let entries = exported["eventTypes"].as_array().context("a list")?;
    ensure!(entries.len() == all, "{}", entries.len());
    let names: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["name"].as_str()).collect();
    ensure!(names.len() == all && entries.is_sorted_by_key(|entry| entry["name"].as_str().map(str::to_owned)));
    for entry in entries {
        let described =
            ["description", "groupName"].iter().all(|field| entry[*field].as_str().is_some_and(|text| text.len() > 4));
        ensure!(described && entry["sample"].is_object(), "{entry}");
    }
    let (status, answer) = import(&api, "", "application/json", exported.to_string()).await?;
    ensure!(status == 200 && answer["unchanged"] == all, "an export changes nothing: {answer}");

    // What is currently unavailable is left out unless asked for.
    let listed = async |query: &str| -> Result<usize> {
        let mut found = 0;
        let mut next = String::new();
        loop {
            let page = api.get(&format!("/event-type?limit=50{query}{next}")).await?;
            found += count(&page, "data");
            if page["done"] == true {
                return Ok(found);
            }
            next = format!("&iterator={}", page["iterator"].as_str().context("an iterator")?);
        }
    };
    ensure!(listed("").await? == all - 1 && listed("&include_archived=true").await? == all);
    running.drain().await;
    Ok(())
}

/// Big numbers, trailing zeros, the order of keys and escapes: what comes in is shown, exported, imported and sent, byte for byte, by
/// the API and on the command line.
async fn samples_and_schemas_keep_their_text(backend: Backend) -> Result<()> {
    const SAMPLE: &str = r#"{"z":12345678901234567890123,"a":1.10,"e":1e400,"u":"\u00fc ü","k":[]}"#;
    const EXAMPLE: &str = r#"{"b":2.50,"a":1}"#;
    const SCHEMA: &str = r#"{"title":"\u00fc","maximum":1.0,"examples":[{"b":2.50,"a":1}]}"#;
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let text = async |path: &str| -> Result<String> { Ok(api.respond(Method::GET, path, None).await?.text().await?) };
    let holds_both = |text: &str| text.contains(SAMPLE) && text.contains(SCHEMA);
    let body = format!(r#"{{"name":"kept","description":"x","sample":{SAMPLE},"schemas":{{"1":{SCHEMA}}}}}"#);
    let (status, _) = api.send_raw("/event-type", body.into_bytes()).await?;
    ensure!(status == 201);
    ensure!(holds_both(&text("/event-type/kept").await?) && holds_both(&text("/event-type?with_content=true").await?));
    let exported = text("/event-type/export").await?;
    ensure!(holds_both(&exported), "{exported}");
    api.call(Method::DELETE, "/event-type/kept?expunge=true", None).await?;
    let (_, answer) = import(&api, "", "application/json", exported).await?;
    ensure!(count(&answer, "created") == 1 && holds_both(&text("/event-type/kept").await?), "{answer}");
    let (status, answer) = api.try_call(Method::GET, "/event-type/export?format=yaml", None).await?;
    ensure!(status == 422 && answer.to_string().contains("take json"), "YAML has no such number: {status} {answer}");

    let json = format!(r#"{{"sample":{SAMPLE},"schemas":{{"1":{SCHEMA}}}}}"#);
    let create = ["event-type", "create", "typed", "--json", &json, "--output", "jsonl"];
    let created = String::from_utf8(api.command_line(&create).await?.output)?;
    ensure!(holds_both(&created), "{created}");
    let shown = String::from_utf8(api.command_line(&["event-type", "get", "typed", "--output", "json"]).await?.output)?;
    ensure!(shown.contains("\"a\": 1.10,\n") && shown.contains("1e400") && shown.contains("\\u00fc ü"), "{shown}");

    let endpoint = api.endpoint("default", &world.receiver.url("/"), json!({})).await?;
    let body = format!(r#"{{"name":"schema.only","description":"","schemas":{{"1":{SCHEMA}}}}}"#);
    let (status, _) = api.send_raw("/event-type", body.into_bytes()).await?;
    ensure!(status == 201);
    let wanted = [
        ("kept", String::new(), SAMPLE),
        ("typed", String::new(), SAMPLE),
        ("schema.only", String::new(), EXAMPLE),
        ("kept", r#","exampleIndex":0"#.to_owned(), EXAMPLE),
        ("kept", format!(r#","payload":{SCHEMA}"#), SCHEMA),
    ];
    for (name, more, sent) in wanted {
        let example = format!(r#"{{"eventType":"{name}"{more}}}"#).into_bytes();
        let before = world.receiver.hits().len();
        let (status, _) = api.send_raw(&format!("/app/default/endpoint/{endpoint}/send-example"), example).await?;
        ensure!(status == 200);
        let of_it = || world.receiver.hits().get(before).cloned();
        eventually("it arrives", async || of_it().is_some()).await?;
        ensure!(of_it().is_some_and(|hit| hit.body == sent.as_bytes()), "{name}");
    }
    let beyond = json!({"eventType": "kept", "exampleIndex": 1});
    let (status, _) =
        api.try_call(Method::POST, &format!("/app/default/endpoint/{endpoint}/send-example"), Some(&beyond)).await?;
    ensure!(status == 422, "there is one example: {status}");
    running.drain().await;
    Ok(())
}

async fn an_import_with_a_mistake_changes_nothing_and_says_where_it_is(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    let good = json!({"name": "good", "description": "x"});
    for (wrong, place) in [
        (json!({"name": "a b", "description": "x"}), "name"),
        (json!({"name": "bad"}), "description"),
        (json!({"name": "bad", "description": "x", "validation": "perhaps"}), "validation"),
        (json!({"name": "bad", "description": "x", "colour": "red"}), "colour"),
    ] {
        let text = json!({"eventTypes": [good, wrong]}).to_string();
        let (status, answer) = import(&api, "", "application/json", text).await?;
        let loc = answer["detail"][0]["loc"].as_array().cloned().unwrap_or_default();
        ensure!(status == 422 && loc == [json!("body"), json!("eventTypes"), json!("1"), json!(place)], "{status} {answer}");
    }
    for (kind, text, code) in [
        ("application/json", "{broken", "invalid_json"),
        ("application/yaml", "eventTypes: [", "invalid_yaml"),
        ("application/yaml", "colour: red", "invalid_yaml"),
    ] {
        let (status, answer) = import(&api, "", kind, text.to_owned()).await?;
        ensure!(status == 400 && answer["code"] == code, "{status} {answer}");
    }
    let (status, _) = api.try_call(Method::GET, "/event-type/good", None).await?;
    ensure!(status == 404, "nothing was changed");
    running.drain().await;
    Ok(())
}
