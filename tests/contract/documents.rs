//! Documents that name things of the code.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hookyard_telemetry::Metrics;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Result<Vec<(PathBuf, String)>> {
    let mut found = vec![root().join("README.md"), root().join("proto/README.md")];
    for folder in ["docs", "docs/adr"] {
        for entry in std::fs::read_dir(root().join(folder)).with_context(|| folder.to_owned())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.into_iter().map(|path| Ok((path.clone(), std::fs::read_to_string(&path)?))).collect()
}

#[test]
fn every_metric_a_document_names_exists() -> Result<()> {
    let text = String::from_utf8(Metrics::unregistered().render())?;
    let families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for (path, document) in documents()? {
        for word in document.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("hookyard_") && !word.ends_with('_') && !word.starts_with("hookyard_hookyard") {
                let family = word.trim_end_matches("_bucket").trim_end_matches("_sum");
                ensure!(families.contains(&family) || families.contains(&word), "{}: {word} does not exist", path.display());
            }
        }
    }
    Ok(())
}

#[test]
fn every_crate_is_in_the_architecture() -> Result<()> {
    let architecture = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md"))?;
    for entry in std::fs::read_dir(root().join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(architecture.contains(&format!("`{name}`")), "docs/ARCHITECTURE.md does not name `{name}`");
    }
    Ok(())
}

#[test]
fn links_between_documents_lead_somewhere() -> Result<()> {
    for (path, document) in documents()? {
        let folder = path.parent().context("a folder")?;
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                ensure!(folder.join(target).exists(), "{}: {link}", path.display());
            }
        }
    }
    Ok(())
}

#[test]
fn the_top_level_holds_what_it_should() -> Result<()> {
    let files = ["Cargo.lock", "Cargo.toml", "LICENSE", "Makefile", "README.md"];
    let folders = ["crates", "deploy", "docs", "findings", "proto", "tests"];
    let ignored = ["target", "hookyard-data"];
    for entry in std::fs::read_dir(root())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let known = name.starts_with('.')
            || files.contains(&name.as_str())
            || folders.contains(&name.as_str())
            || ignored.contains(&name.as_str());
        ensure!(known, "{name} at the top level");
    }
    Ok(())
}
