//! `hookyard completion`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::output::print;

/// Print what makes a shell complete these commands.
#[derive(Args)]
pub struct Completion {
    /// bash, elvish, fish, powershell or zsh.
    shell: Shell,
}

impl Completion {
    pub fn run(self) {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Arguments::command(), "hookyard", &mut script);
        print(String::from_utf8_lossy(&script).trim_end());
    }
}
