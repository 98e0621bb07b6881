//! Who may name whom: `docs/ARCHITECTURE.md`'s table, held against the manifests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Crate, and the workspace's crates it may name. Anything absent is forbidden.
const MAY_NAME: [(&str, &[&str]); 15] = [
    ("hookyard-core", &[]),
    ("hookyard-wire", &["core"]),
    ("hookyard-telemetry", &["core"]),
    ("hookyard-egress", &["core", "telemetry", "wire"]),
    ("hookyard-rabbit", &["core", "wire", "telemetry"]),
    ("hookyard-redis", &["core", "wire", "telemetry"]),
    ("hookyard-embedded", &["core", "wire", "telemetry"]),
    ("hookyard-ingest", &["core", "wire", "telemetry"]),
    ("hookyard-router", &["core", "wire", "telemetry"]),
    ("hookyard-operations", &["core"]),
    ("hookyard-dispatcher", &["core", "wire", "telemetry", "operations"]),
    ("hookyard-admin", &["core", "wire", "telemetry", "operations"]),
    (
        "hookyard-node",
        &[
            "core",
            "wire",
            "telemetry",
            "egress",
            "rabbit",
            "redis",
            "embedded",
            "ingest",
            "router",
            "operations",
            "dispatcher",
            "admin",
        ],
    ),
    ("hookyard", &["node", "telemetry"]),
    ("hookyard-testkit", &["core"]),
];

/// A third-party crate, and the only crates that may name it (the tests aside).
const ONE_HOME: [(&str, &[&str]); 7] = [
    ("lapin", &["hookyard-rabbit"]),
    ("backoff", &["hookyard-rabbit"]),
    ("redis", &["hookyard-redis"]),
    ("rusqlite", &["hookyard-embedded"]),
    ("prometheus", &["hookyard-telemetry", "hookyard-node"]),
    ("reqwest", &["hookyard-egress", "hookyard"]),
    ("jsonwebtoken", &["hookyard-node"]),
];

fn packages() -> Result<Vec<Package>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().other_options(vec!["--offline".into()]).exec()?;
    Ok(metadata.packages)
}

fn named(package: &Package) -> BTreeSet<String> {
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    normal.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn every_crate_names_only_whom_it_may() -> Result<()> {
    let rules: BTreeMap<&str, &[&str]> = MAY_NAME.into_iter().collect();
    for package in packages()? {
        let name = package.name.to_string();
        if name == "hookyard-e2e" {
            continue;
        }
        let allowed = rules.get(name.as_str()).with_context(|| format!("{name} has no rule"))?;
        for dependency in named(&package) {
            if let Some(ours) = dependency.strip_prefix("hookyard-") {
                ensure!(allowed.contains(&ours), "{name} may not name {dependency}");
            }
            if let Some((_, homes)) = ONE_HOME.iter().find(|(third, _)| *third == dependency) {
                ensure!(homes.contains(&name.as_str()), "{name} may not name {dependency}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_core_has_no_runtime_and_no_io() -> Result<()> {
    let packages = packages()?;
    let core = packages.iter().find(|package| package.name.as_str() == "hookyard-core").context("the core")?;
    for forbidden in ["tokio", "hyper", "axum", "reqwest", "mio", "tracing"] {
        ensure!(!named(core).contains(forbidden), "the core names {forbidden}");
    }
    Ok(())
}
