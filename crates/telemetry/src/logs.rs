//! The set-up of logs: text on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins logging to standard error; `filter` is in the form of `RUST_LOG`, for instance `info,hookyard_rabbit=debug`.
///
/// A second call changes nothing: the first logger of a process stays.
pub fn begin(filter: &str) {
    // The broker's client logs as errors what our adapter handles and tells itself.
    let filter = if filter.contains("lapin") { filter.to_owned() } else { format!("{filter},lapin=off") };
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let begun = if terminal { builder.finish().try_init() } else { builder.json().flatten_event(true).finish().try_init() };
    if let Err(error) = begun {
        tracing::debug!(%error, "logging was already begun");
    }
}
