//! Runs a command with a RabbitMQ and a Redis at hand, and ends them with it.

use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result};
use clap::Parser;
use hookyard_e2e::services::{self, AMQP_URL_VAR, REDIS_URL_VAR, Services};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a command with a RabbitMQ and a Redis at hand.
///
/// The command finds their URLs in HOOKYARD_TEST_AMQP_URL and HOOKYARD_TEST_REDIS_URL, and in place of the words {amqp} and {redis}
/// in its arguments. Which services were taken is said on standard error.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keep the data of private instances in this folder, and find it there again.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Install what is missing, and run nothing.
    #[arg(long, conflicts_with_all = ["state", "command"])]
    install_only: bool,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required_unless_present = "install_only")]
    command: Vec<String>,
}

fn main() -> ExitCode {
    serve(&Arguments::parse()).unwrap_or_else(|error| {
        complain(&error);
        ExitCode::FAILURE
    })
}

fn serve(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.install_only {
        services::install_missing()?;
        return Ok(ExitCode::SUCCESS);
    }
    // Signals still have their usual effect here: a private server that is starting ends with us.
    let services = match &arguments.state {
        Some(state) => Services::find_in(state)?,
        None => Services::find()?,
    };
    let status = run(&arguments.command, &services);
    if arguments.state.is_some() {
        services.stop()?;
    }
    Ok(exit_code(status?))
}

/// Runs the command to its end, passing on the signals that ask for it.
#[tokio::main(flavor = "current_thread")]
async fn run(words: &[String], services: &Services) -> Result<ExitStatus> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut words = words.iter().map(|word| filled_in(word, &services.amqp_url, &services.redis_url));
    let program = words.next().context("there is no command")?;
    let mut child = Command::new(&program)
        .args(words)
        .env(AMQP_URL_VAR, &services.amqp_url)
        .env(REDIS_URL_VAR, &services.redis_url)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    // A terminal sends Ctrl-C to the command as well as to us, and a second one would mean more to many programs.
    let by_terminal = io::stdin().is_terminal();
    loop {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for the command"),
            Some(()) = interrupts.recv() => if !by_terminal { pass_on("INT", &child).await? },
            Some(()) = terminations.recv() => pass_on("TERM", &child).await?,
        }
    }
}

async fn pass_on(name: &str, child: &Child) -> Result<()> {
    // Without a number it has ended, and the wait is about to say so; the same if kill fails.
    if let Some(pid) = child.id() {
        Command::new("kill").args(["-s", name, &pid.to_string()]).status().await.context("cannot run kill")?;
    }
    Ok(())
}

fn filled_in(word: &str, amqp_url: &str, redis_url: &str) -> String {
    word.replace("{amqp}", amqp_url).replace("{redis}", redis_url)
}

/// The command's own code, or what a shell makes of the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[expect(clippy::print_stderr, reason = "a command says there what is wrong")]
fn complain(error: &anyhow::Error) {
    eprintln!("with-services: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_keeps_its_own_options() -> Result<()> {
        let arguments = Arguments::try_parse_from(["with-services", "--state", "kept", "cargo", "test", "--state", "--", "x"])?;
        assert_eq!(arguments.state, Some(PathBuf::from("kept")));
        assert_eq!(arguments.command, ["cargo", "test", "--state", "--", "x"]);
        assert!(Arguments::try_parse_from(["with-services"]).is_err());
        assert!(Arguments::try_parse_from(["with-services", "--install-only", "cargo"]).is_err());
        assert!(Arguments::try_parse_from(["with-services", "--install-only"])?.install_only);
        Ok(())
    }

    #[test]
    fn the_urls_take_the_place_of_their_words() {
        assert_eq!(filled_in("--at={redis},{amqp}{", "amqp://a", "redis://b"), "--at=redis://b,amqp://a{");
    }

    #[test]
    fn the_status_is_that_of_the_command_as_a_shell_tells_it() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), ExitCode::from(7));
        assert_eq!(exit_code(ExitStatus::from_raw(15)), ExitCode::from(143));
    }
}
