//! `hookyard config`.

use anyhow::Context as _;
use clap::Subcommand;
use hookyard_node::load::Layers;
use hookyard_node::shown::{self, Row};
use hookyard_node::{Config, local};
use serde_json::{Value, json};

use crate::output::{Format, print, show, talk};

const COLUMNS: [&str; 3] = ["key", "value", "origin"];

/// What is configured, and whether it is right.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Show every key with its value and where that came from; secrets are masked.
    Print,
    /// Say whether everything is there and right; fails if not.
    Check,
    /// Print the reference of all keys, in Markdown.
    Reference,
}

impl ConfigCommand {
    pub fn run(self, layers: Layers<'_>, format: Option<Format>) -> anyhow::Result<()> {
        match self {
            Self::Print => {
                let row = |Row { key, value, origin }: Row| json!({ "key": key, "value": value, "origin": origin.to_string() });
                let rows: Vec<Value> = Config::load(layers)?.rows().into_iter().map(row).collect();
                show(&json!({ "data": rows }), &COLUMNS, format);
            }
            Self::Check => {
                let mut config = Config::load(layers)?;
                if local::assume(&mut config)? {
                    talk("the data folder's secrets are made at the first start");
                }
                config.judge().context("the configuration is wrong")?;
                talk("the configuration is right");
            }
            Self::Reference => print(shown::reference().trim_end()),
        }
        Ok(())
    }
}
