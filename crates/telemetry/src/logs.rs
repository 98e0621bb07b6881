//! The set-up of logs: text on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Begins logging to standard error; `filter` is in the form of `RUST_LOG`, for instance `info,hookyard_rabbit=debug`.
///
/// A second call changes nothing: the first logger of a process stays.
pub fn begin(filter: &str) {
    let filter = EnvFilter::try_new(quieted(filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    let begun = if terminal { builder.finish().try_init() } else { builder.json().flatten_event(true).finish().try_init() };
    if let Err(error) = begun {
        tracing::debug!(%error, "logging was already begun");
    }
}

/// Libraries that log as errors what our adapters handle and tell themselves: the broker's client, and the judge of receivers'
/// certificates, with every attempt.
const LOUD: [&str; 2] = ["lapin", "rustls_platform_verifier"];

/// The filter without them, unless it names them.
fn quieted(filter: &str) -> String {
    let loud = LOUD.iter().filter(|library| !filter.contains(**library));
    loud.fold(filter.to_owned(), |filter, library| format!("{filter},{library}=off"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_call_everything_an_error_are_quiet_unless_asked_for() {
        assert_eq!(quieted("info"), "info,lapin=off,rustls_platform_verifier=off");
        assert_eq!(quieted("info,lapin=debug"), "info,lapin=debug,rustls_platform_verifier=off");
    }
}
