//! `hookyard dataset`.

use std::io::BufRead as _;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use hookyard_node::settings::Settings;
use hookyard_node::tools::{self, DatasetReport};
use serde_json::json;

use crate::output::{Format, show, talk};

/// Which dataset store and broker belong to.
#[derive(Subcommand)]
pub enum Dataset {
    /// Show the store's dataset, the broker's anchor, and what they mean.
    Show,
    /// Accept what the store holds now. What only the lost store knew (endpoints, messages, attempts) stays lost.
    Accept {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl Dataset {
    pub async fn run(self, settings: &Settings, format: Option<Format>) -> anyhow::Result<()> {
        let report = tools::show_dataset(settings).await?;
        match self {
            Self::Show => print_report(&report, format),
            Self::Accept { .. } if report.good => {
                talk("there is nothing to accept");
                print_report(&report, format);
            }
            Self::Accept { yes } => {
                talk(report.explanation);
                if !yes {
                    confirm()?;
                }
                let report = tools::accept_dataset(settings).await?;
                print_report(&report, format);
            }
        }
        Ok(())
    }
}

fn confirm() -> anyhow::Result<()> {
    talk("type `accept` to accept what the store holds now:");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    if answer.trim() == "accept" { Ok(()) } else { bail!("not accepted") }
}

/// Applications named in the report: a screenful, the latest first. Of all it says how many there are.
const NAMED: usize = 20;

fn print_report(report: &DatasetReport, format: Option<Format>) {
    let answer = json!({
        "dataset": report.dataset,
        "epoch": report.epoch,
        "anchor": report.anchor,
        "good": report.good,
        "explanation": report.explanation,
        "regressed": report.regressions.len(),
        "regressions": report.regressions.iter().take(NAMED).collect::<Vec<_>>(),
    });
    show(&answer, &[], format);
}
