//! The chart is rendered, by Helm or as Helm does it, and what comes of it is what Kubernetes takes and what the code knows.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use hookyard_node::Config;
use hookyard_node::load::variable;
use serde_json::{Value, json};

use crate::deployment::{python_tool, read, root, yaml};

const CHART: &str = "deploy/helm/hookyard";
/// The first and the last version of Kubernetes whose schemas the documents are held against.
const VERSIONS: [&str; 2] = ["1.30.0", "1.37.0"];

/// Every value that adds something, beside the defaults.
fn everything() -> Value {
    json!({
        "image": {"repository": "registry.example.com/hookyard", "tag": "1.2.3"},
        "imagePullSecrets": [{"name": "pull"}],
        "journalHasItsOwnRedis": true,
        "config": {"HOOKYARD_LOG": "debug", "HOOKYARD_EVENTS__MAX_BYTES": 1_048_576, "HOOKYARD_EVENTS__REQUIRE_ID": true},
        "ingest": {"replicas": 3},
        "keda": {"enabled": true, "deliveriesPerDispatcher": 2_000_000},
        "ingress": {"enabled": true, "className": "nginx", "tlsSecret": "certificate"},
        "monitoring": {"podMonitor": true, "prometheusRule": true},
        "networkPolicy": {"enabled": true},
        "podAnnotations": {"example.com/team": "events"},
        "nodeSelector": {"disk": "none"},
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
    })
}

/// The documents of a release `prod` with these values, as text and as values.
fn render(values: &Value) -> Result<(String, Vec<Value>)> {
    let mut file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&mut file, values)?;
    // `make chart` puts the second there where the first is missing.
    let has_helm = Command::new("helm").arg("version").output().is_ok_and(|output| output.status.success());
    let mut command = if has_helm { Command::new("helm") } else { Command::new(root().join("target/chart/render")) };
    if has_helm {
        command.args(["template", "--kube-version", VERSIONS[0]]);
    }
    let output = command.arg("prod").arg(root().join(CHART)).arg("-f").arg(file.path()).output().context("`make chart`")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let documents = text.split("---\n").map(serde_yaml_ng::from_str).collect::<Result<Vec<Value>, _>>()?;
    Ok((text, documents.into_iter().filter(|document| !document.is_null()).collect()))
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

fn names<'a>(documents: &'a [Value], kind: &str) -> BTreeSet<&'a str> {
    of_kind(documents, kind).iter().filter_map(|document| document["metadata"]["name"].as_str()).collect()
}

/// Whether some pods of the deployments have all of these labels.
fn selects(deployments: &[&Value], labels: &Value) -> bool {
    let has = |pod: &Value| labels.as_object().is_some_and(|labels| labels.iter().all(|(key, value)| pod[key] == *value));
    deployments.iter().any(|deployment| has(&deployment["spec"]["template"]["metadata"]["labels"]))
}

#[test]
fn with_the_defaults_it_is_three_roles_and_a_service() -> Result<()> {
    let (_, documents) = render(&json!({}))?;
    let roles: BTreeSet<&str> = ["prod-hookyard-admin", "prod-hookyard-dispatcher", "prod-hookyard-router"].into();
    ensure!(names(&documents, "Deployment") == roles && names(&documents, "PodDisruptionBudget") == roles);
    ensure!(names(&documents, "Service") == ["prod-hookyard-admin"].into());
    ensure!(documents.len() == 7, "{:?}", documents.iter().map(|document| &document["kind"]).collect::<Vec<_>>());
    let version = env!("CARGO_PKG_VERSION");
    for deployment in of_kind(&documents, "Deployment") {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        ensure!(container["image"] == format!("hookyard:{version}"), "{}", container["image"]);
        ensure!(deployment["spec"]["replicas"] == 2);
        ensure!(deployment["spec"]["template"]["spec"]["enableServiceLinks"] == false, "variables of Services reach the pod");
    }
    Ok(())
}

#[test]
fn kubernetes_takes_what_comes_of_it() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, values) in [("defaults.yaml", json!({})), ("everything.yaml", everything())] {
        let file = folder.path().join(name);
        std::fs::write(&file, render(&values)?.0)?;
        for version in VERSIONS {
            let said = python_tool("kubernetes-validate", &["--strict", "-k", version, &file.display().to_string()])?;
            // What it has no schema of is what others define, and nothing else.
            let unknown = said.lines().filter(|line| !line.contains(" passed for resource "));
            let unknown: BTreeSet<&str> = unknown.filter_map(|line| line.split("for kind ").nth(1)?.split(' ').next()).collect();
            let foreign = ["PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"];
            ensure!(unknown.iter().all(|kind| foreign.contains(kind)), "{said}");
            ensure!(said.matches(" passed for resource ").count() >= 7, "{said}");
        }
    }
    Ok(())
}

#[test]
fn every_pod_runs_a_role_with_variables_that_exist() -> Result<()> {
    let (_, documents) = render(&everything())?;
    let known: BTreeSet<String> = Config::default().rows().iter().map(|row| variable(&row.key)).collect();
    let deployments = of_kind(&documents, "Deployment");
    ensure!(deployments.len() == 4);
    for deployment in deployments {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let role = container["args"][2].as_str().context("a role")?;
        ensure!(role.parse::<hookyard_node::Role>().is_ok() && deployment["metadata"]["name"] == format!("prod-hookyard-{role}"));
        let wanted = everything();
        for part in ["imagePullSecrets", "nodeSelector", "tolerations", "affinity"] {
            ensure!(pod[part] == wanted[part], "{role}: {part} is {}", pod[part]);
        }
        ensure!(deployment["spec"]["template"]["metadata"]["annotations"] == wanted["podAnnotations"]);
        ensure!(container["image"] == "registry.example.com/hookyard:1.2.3" && container["resources"]["limits"].is_object());
        ensure!(role != "ingest" || deployment["spec"]["replicas"] == 3, "{}", deployment["spec"]["replicas"]);
        let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().context("a pause")?;
        ensure!(pod["terminationGracePeriodSeconds"].as_u64().is_some_and(|grace| grace > 35 + pause), "killed in the middle");
        let value =
            |name: &str| container["env"].as_array()?.iter().find(|variable| variable["name"] == name).map(|v| &v["value"]);
        let has_journal = container["env"].to_string().contains("HOOKYARD_REDIS_JOURNAL_URL");
        ensure!(has_journal, "{role}: the journal's own Redis is not known");
        for variable in container["env"].as_array().context("variables")? {
            let name = variable["name"].as_str().context("a name")?;
            ensure!(known.contains(name), "{role}: {name} is no key");
            let is_text = variable["value"].is_string() || variable["valueFrom"]["secretKeyRef"]["key"].is_string();
            ensure!(is_text, "{role}: {name} is {variable}");
        }
        ensure!(value("HOOKYARD_EVENTS__MAX_BYTES").is_some_and(|bytes| bytes == "1048576"), "a number is not written out");
        ensure!(value("HOOKYARD_EVENTS__REQUIRE_ID").is_some_and(|required| required == "true"));
        for probe in ["livenessProbe", "readinessProbe"] {
            let port = &container[probe]["httpGet"]["port"];
            ensure!(container["ports"].as_array().into_iter().flatten().any(|known| known["name"] == *port), "{probe}: {port}");
        }
    }
    Ok(())
}

#[test]
fn what_selects_pods_finds_them_and_what_scales_them_exists() -> Result<()> {
    let (_, documents) = render(&everything())?;
    let deployments = of_kind(&documents, "Deployment");
    for kind in ["Deployment", "PodDisruptionBudget", "PodMonitor"] {
        for document in of_kind(&documents, kind) {
            ensure!(
                selects(&deployments, &document["spec"]["selector"]["matchLabels"]),
                "{kind}: {}",
                document["metadata"]["name"]
            );
        }
    }
    for service in of_kind(&documents, "Service") {
        ensure!(selects(&deployments, &service["spec"]["selector"]), "{}", service["metadata"]["name"]);
    }
    let policy = of_kind(&documents, "NetworkPolicy");
    ensure!(policy.len() == 1 && selects(&deployments, &policy[0]["spec"]["podSelector"]["matchLabels"]));
    ensure!(policy[0]["spec"]["ingress"].to_string().contains("monitoring"), "metrics are read by nobody");
    let ingress = &of_kind(&documents, "Ingress")[0]["spec"];
    ensure!(ingress["ingressClassName"] == "nginx" && ingress["tls"][0]["secretName"] == "certificate", "{ingress}");
    let backend = &ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"];
    ensure!(names(&documents, "Service").contains(backend.as_str().unwrap_or_default()), "{backend}");

    let scaled = of_kind(&documents, "ScaledObject");
    let target = scaled[0]["spec"]["scaleTargetRef"]["name"].as_str().context("a target")?;
    let dispatcher = deployments.iter().find(|deployment| deployment["metadata"]["name"] == target).context("a deployment")?;
    ensure!(dispatcher["spec"]["replicas"].is_null(), "two would scale it");
    let queues: Value = serde_json::from_str(&read("deploy/rabbitmq/definitions.json")?)?;
    let queues: BTreeSet<&str> =
        queues["queues"].as_array().into_iter().flatten().filter_map(|queue| queue["name"].as_str()).collect();
    let authentications = names(&documents, "TriggerAuthentication");
    for trigger in scaled[0]["spec"]["triggers"].as_array().context("triggers")? {
        let queue = trigger["metadata"]["queueName"].as_str().context("a queue")?;
        ensure!(queues.contains(queue), "there is no queue {queue}");
        ensure!(trigger["metadata"]["value"] == "2000000", "{}", trigger["metadata"]["value"]);
        ensure!(authentications.contains(trigger["authenticationRef"]["name"].as_str().unwrap_or_default()));
    }
    Ok(())
}

#[test]
fn its_rules_are_those_of_prometheus_and_its_defaults_fit_its_schema() -> Result<()> {
    let rules = yaml("deploy/prometheus/rules.yml")?;
    ensure!(of_kind(&render(&everything())?.1, "PrometheusRule")[0]["spec"] == rules, "`make reference` copies the rules");
    let schema: Value = serde_json::from_str(&read(&format!("{CHART}/values.schema.json"))?)?;
    let schema = jsonschema::validator_for(&schema)?;
    let mut defaults = yaml(&format!("{CHART}/values.yaml"))?;
    let mistakes = |values: &Value| schema.iter_errors(values).map(|error| error.to_string()).collect::<Vec<_>>();
    ensure!(mistakes(&defaults).is_empty(), "{:?}", mistakes(&defaults));
    defaults["config"] = json!({"LOG": "info"});
    ensure!(!mistakes(&defaults).is_empty(), "a variable of nobody is taken");
    ensure!(yaml(&format!("{CHART}/Chart.yaml"))?["appVersion"] == env!("CARGO_PKG_VERSION"), "the chart is of another version");
    Ok(())
}
