//! `deploy/` is what the code says it is: every metric, key, queue and file that it names exists, and what can be read is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use hookyard_node::Config;
use hookyard_node::load::{Layers, variable};
use hookyard_telemetry::Metrics;
use serde_json::Value;

/// Families that neither a dashboard nor a rule shows, and why.
const SHOWN_NOWHERE: [(&str, &str); 2] = [
    ("hookyard_event_types_undiscovered_total", "moves only when a publisher invents thousands of event types"),
    ("hookyard_events_without_id_total", "what a publisher does without ids is its own choice"),
];
/// Variables of our prefix that are not keys of the configuration.
const OTHER_VARIABLES: [&str; 4] = ["HOOKYARD_URL", "HOOKYARD_TOKEN", "HOOKYARD_CONFIG", "HOOKYARD_IMAGE"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

pub fn yaml(path: &str) -> Result<Value> {
    let mut value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read(path)?).with_context(|| path.to_owned())?;
    value.apply_merge()?;
    Ok(serde_json::to_value(value)?)
}

/// Every file of a folder and of those in it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

pub fn texts(folders: &[&str]) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for folder in folders {
        files(&root().join(folder), &mut found)?;
    }
    let text = |path: PathBuf| Some((path.clone(), std::fs::read_to_string(&path).ok()?));
    Ok(found.into_iter().filter_map(text).collect())
}

/// Words of a text that begin so.
fn words<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(move |word| word.starts_with(begin) && !word.ends_with('_'))
}

fn families() -> Result<BTreeSet<String>> {
    let text = String::from_utf8(Metrics::unregistered().render())?;
    Ok(text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).map(str::to_owned).collect())
}

/// Of another release in a run of the matrix; otherwise `make promtool` puts it there.
fn promtool(arguments: &[&str]) -> Result<()> {
    let of_matrix = std::env::var_os("MATRIX_PROMTOOL").map(PathBuf::from);
    let program = of_matrix.unwrap_or_else(|| root().join("target/prometheus/usr/bin/promtool"));
    ensure!(program.exists(), "{} is missing: `make promtool` makes it", program.display());
    let output = Command::new(program.canonicalize()?).args(arguments).current_dir(root().join("deploy/prometheus")).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool {}: {said}", arguments.join(" "));
    Ok(())
}

/// What a linter says that `make python` puts there, run in `deploy/`.
pub fn python_tool(name: &str, arguments: &[&str]) -> Result<String> {
    let program = root().join("target/python/bin").join(name);
    ensure!(program.exists(), "{} is missing: `make python` makes it", program.display());
    let output = Command::new(program.canonicalize()?).args(arguments).current_dir(root().join("deploy")).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {}: {said}", arguments.join(" "));
    Ok(said)
}

#[test]
fn the_rules_are_good_and_their_tests_pass() -> Result<()> {
    promtool(&["check", "rules", "rules.yml"])?;
    promtool(&["test", "rules", "rules.test.yml"])
}

#[test]
fn every_alert_has_its_page_and_its_test() -> Result<()> {
    let (rules, pages, tests) =
        (yaml("deploy/prometheus/rules.yml")?, read("docs/runbooks.md")?, read("deploy/prometheus/rules.test.yml")?);
    let mut alerts = BTreeSet::new();
    for rule in rules["groups"].as_array().into_iter().flatten().filter_map(|group| group["rules"].as_array()).flatten() {
        let Some(alert) = rule["alert"].as_str() else {
            let name = rule["record"].as_str().context("a name")?;
            ensure!(name.split(':').count() == 3, "{name} is not level:metric:operation");
            continue;
        };
        let page = rule["annotations"]["runbook"].as_str().unwrap_or_default();
        ensure!(page == format!("docs/runbooks.md#{}", alert.to_lowercase()), "{alert}: {page}");
        ensure!(["page", "ticket"].contains(&rule["labels"]["severity"].as_str().unwrap_or_default()), "{alert} has no severity");
        ensure!(tests.matches(&format!("alertname: {alert}")).count() >= 2, "{alert} is not tested both ways");
        alerts.insert(alert.to_owned());
    }
    let headings: BTreeSet<String> = pages.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    ensure!(alerts == headings, "{:?}", alerts.symmetric_difference(&headings).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn every_metric_that_is_shown_exists_and_every_family_is_shown() -> Result<()> {
    let families = families()?;
    let mut shown = BTreeSet::new();
    for (path, text) in texts(&["deploy/grafana", "deploy/prometheus"])? {
        for word in words(&text, "hookyard_") {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
            // A recording rule's name has a family's in its middle, without its unit.
            let is_recorded = families.iter().any(|known| known.starts_with(word)) && text.contains(&format!(":{word}:"));
            ensure!(families.contains(family) || is_recorded, "{}: {word} does not exist", path.display());
            shown.insert(family.to_owned());
        }
    }
    let hidden: BTreeSet<String> = SHOWN_NOWHERE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let ours: BTreeSet<String> = families.into_iter().filter(|family| family.starts_with("hookyard_")).collect();
    let unshown: BTreeSet<String> = ours.difference(&shown).cloned().collect();
    ensure!(
        unshown == hidden,
        "shown nowhere, or listed as that and shown: {:?}",
        unshown.symmetric_difference(&hidden).collect::<Vec<_>>()
    );
    Ok(())
}

#[test]
fn every_panel_says_what_it_shows_and_in_what_unit() -> Result<()> {
    for name in ["overview", "dispatchers", "plumbing"] {
        let board: Value = serde_json::from_str(&read(&format!("deploy/grafana/dashboards/{name}.json"))?)?;
        let panels = board["panels"].as_array().context("panels")?;
        let mut ids = BTreeSet::new();
        for panel in panels {
            let title = panel["title"].as_str().context("a title")?;
            ensure!(ids.insert(panel["id"].as_u64()), "{name}: {title} has another's id");
            if panel["type"] == "row" {
                continue;
            }
            ensure!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {title} says nothing of itself");
            ensure!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name}: {title} has no unit");
            for target in panel["targets"].as_array().context("targets")? {
                ensure!(target["datasource"]["uid"] == "${datasource}", "{name}: {title} names a data source of its own");
            }
        }
        ensure!(ids.len() > 10, "{name} has {} panels", ids.len());
    }
    Ok(())
}

#[test]
fn the_brokers_definitions_are_the_codes() -> Result<()> {
    let committed: Value = serde_json::from_str(&read("deploy/rabbitmq/definitions.json")?)?;
    let is_current = committed == hookyard_node::tools::definitions(&Config::default());
    ensure!(is_current, "deploy/rabbitmq/definitions.json is out of date: `make reference` writes it");
    Ok(())
}

#[test]
fn every_variable_that_is_named_is_a_key() -> Result<()> {
    let known: BTreeSet<String> = Config::default().rows().iter().map(|row| variable(&row.key)).collect();
    let mut documents = texts(&["deploy", "docs"])?;
    documents.push((root().join("README.md"), read("README.md")?));
    for (path, text) in documents {
        for word in words(&text, "HOOKYARD_") {
            let is_known = known.contains(word) || OTHER_VARIABLES.contains(&word) || word.starts_with("HOOKYARD_TEST_");
            ensure!(is_known, "{}: {word} is no key", path.display());
        }
    }
    Ok(())
}

#[test]
fn every_sample_configuration_is_read() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut samples = vec![("deploy/systemd/hookyard.toml".to_owned(), read("deploy/systemd/hookyard.toml")?)];
    for (path, text) in texts(&["docs"])? {
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        samples.extend(blocks.map(|block| (path.display().to_string(), block.to_owned())));
    }
    for (name, text) in samples {
        let file = folder.path().join("hookyard.toml");
        std::fs::write(&file, &text)?;
        Config::load(Layers { file: Some(&file), flags: &[] }).with_context(|| name)?;
    }
    Ok(())
}

#[test]
fn the_compose_file_names_roles_and_files_that_exist() -> Result<()> {
    let compose = yaml("deploy/compose/compose.yaml")?;
    let folder = root().join("deploy/compose");
    for (name, config) in compose["configs"].as_object().context("configs")? {
        ensure!(folder.join(config["file"].as_str().context("a file")?).exists(), "{name} is missing");
    }
    for role in ["admin", "router", "dispatcher"] {
        let service = &compose["services"][role];
        ensure!(service["command"] == serde_json::json!(["run", "--role", role]), "{role}: {}", service["command"]);
        ensure!(role.parse::<hookyard_node::Role>().is_ok() && service["image"].is_string(), "{role}");
        let grace = service["stop_grace_period"].as_str().context("a grace")?.trim_end_matches('s').parse::<u64>()?;
        ensure!(grace > 35, "{role} is killed before it has finished");
    }
    for name in compose["services"]["admin"]["secrets"].as_array().into_iter().flatten() {
        ensure!(compose["secrets"][name.as_str().unwrap_or_default()].is_object(), "{name} is no secret");
    }
    Ok(())
}

#[test]
fn the_unit_starts_roles_that_exist_and_waits_for_their_end() -> Result<()> {
    let unit = read("deploy/systemd/hookyard@.service")?;
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    ensure!(value("ExecStart").is_some_and(|line| line.contains("hookyard run --role %i ")), "{:?}", value("ExecStart"));
    let patience = value("TimeoutStopSec").and_then(|text| text.trim_end_matches('s').parse::<u64>().ok());
    ensure!(patience.is_some_and(|seconds| seconds > 35), "{patience:?}");
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        ensure!(line.split_once('=').is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric())), "{line}");
    }
    Ok(())
}

#[test]
fn the_image_runs_as_nobody_and_starts_the_program() -> Result<()> {
    const KNOWN: [&str; 10] = ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    let file = read("deploy/Dockerfile")?;
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let instruction = line.split(' ').next().unwrap_or_default();
        ensure!(KNOWN.contains(&instruction), "{line}");
    }
    let Some(last) = file.lines().rfind(|line| line.starts_with("FROM")) else { bail!("no image") };
    ensure!(last.ends_with(":nonroot"), "{last}");
    let is_shipped = file.contains("--profile dist") && file.contains("/target/dist/hookyard ");
    ensure!(is_shipped && read("Cargo.toml")?.contains("[profile.dist]"), "the image's program is not the one that is shipped");
    python_tool("hadolint", &["--failure-threshold", "info", "Dockerfile"]).map(drop)
}
