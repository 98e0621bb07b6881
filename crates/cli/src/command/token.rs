//! `hookyard token`.

use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_node::{Config, token};

use crate::output::print;

/// Tokens for the API.
#[derive(Subcommand)]
pub enum Token {
    /// Print a new token, signed with HOOKYARD_JWT_SECRET.
    Create {
        /// What it allows: admin, publish, or app:<id or uid>.
        #[arg(long)]
        scope: String,
        /// How long it is good.
        #[arg(long, default_value = "365d", value_parser = humantime::parse_duration)]
        lifetime: Duration,
    },
}

impl Token {
    pub fn run(self, config: &Config) -> anyhow::Result<()> {
        let Self::Create { scope, lifetime } = self;
        let secret =
            config.jwt_secret.as_deref().context("HOOKYARD_JWT_SECRET is missing: it must be the one of the running roles")?;
        print(&token::create(secret, &scope.parse()?, lifetime, &SystemClock, &SystemEntropy::default())?);
        Ok(())
    }
}
