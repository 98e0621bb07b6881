//! Our own description of the API is what the code says, and good.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

const COMMITTED: &str = "docs/openapi.json";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn description() -> Result<Value> {
    Ok(serde_json::from_str(hookyard_node::openapi::document())?)
}

#[test]
fn the_committed_description_is_the_codes() -> Result<()> {
    let committed = std::fs::read_to_string(root().join(COMMITTED)).context("docs/openapi.json")?;
    ensure!(committed == hookyard_node::openapi::document(), "{COMMITTED} is out of date: `make reference` writes it");
    Ok(())
}

#[test]
fn the_committed_reference_of_the_configuration_is_the_codes() -> Result<()> {
    let committed = std::fs::read_to_string(root().join("docs/configuration.md")).context("docs/configuration.md")?;
    let is_current = committed.trim_end() == hookyard_node::shown::reference().trim_end();
    ensure!(is_current, "docs/configuration.md is out of date: `make reference` writes it");
    Ok(())
}

#[test]
fn every_operation_says_what_it_does_and_has_a_name_of_its_own() -> Result<()> {
    let description = description()?;
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for (path, operations) in description["paths"].as_object().context("paths")? {
        for (method, operation) in operations.as_object().context("operations")? {
            let place = format!("{method} {path}");
            let name = operation["operationId"].as_str().context("a name")?.to_owned();
            ensure!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{place} does not say what it does");
            ensure!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{place} is in no chapter");
            if let Some(other) = names.insert(name, place.clone()) {
                anyhow::bail!("{place} and {other} have the same name");
            }
        }
    }
    ensure!(names.len() > 55, "{} operations", names.len());
    Ok(())
}

#[test]
fn every_example_fits_its_schema() -> Result<()> {
    let description = description()?;
    let schemas = description["components"]["schemas"].as_object().context("schemas")?;
    let mut examples = 0;
    for (name, schema) in schemas {
        let Some(example) = schema.get("example") else { continue };
        let whole = json!({"$ref": format!("#/components/schemas/{name}"), "components": description["components"]});
        let validator = jsonschema::validator_for(&whole)?;
        let mistakes: Vec<String> = validator.iter_errors(example).map(|error| error.to_string()).collect();
        ensure!(mistakes.is_empty(), "the example of {name}: {mistakes:?}");
        // An example that names a field which is not there says nothing.
        let unknown = |field: &&String| schema["properties"].as_object().is_some_and(|known| !known.contains_key(*field));
        let unknown: Vec<&String> = example.as_object().context("an object")?.keys().filter(unknown).collect();
        ensure!(unknown.is_empty(), "the example of {name} names {unknown:?}");
        examples += 1;
    }
    let bodies =
        schemas.keys().filter(|name| name.ends_with("In") || name.ends_with("Patch") || name.ends_with("Update")).count();
    ensure!(examples >= bodies, "{examples} examples of {bodies} bodies");
    Ok(())
}

/// By a linter that others use, with its recommended rules and not one warning.
#[test]
fn a_public_linter_finds_nothing() -> Result<()> {
    let linter = root().join("target/node/node_modules/.bin/redocly");
    ensure!(linter.exists(), "{} is missing: `make clients` makes it", linter.display());
    let mut command = Command::new(linter);
    command.current_dir(root()).env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    let output = command.args(["lint", COMMITTED, "--extends=recommended", "--format=json"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.find('{').and_then(|from| serde_json::from_str::<Value>(&said[from..]).ok());
    let report = report.with_context(|| format!("{said}{}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(report["totals"] == json!({"errors": 0, "warnings": 0, "ignored": 0}), "{:#}", report["problems"]);
    Ok(())
}
