//! `hookyard secret-key`.

use clap::Subcommand;

use crate::output::print;

/// Keys that seal secrets at rest.
#[derive(Subcommand)]
pub enum SecretKey {
    /// Print a new key for HOOKYARD_SECRET_KEY. To rotate, put it before the old one, separated by a comma.
    Create,
}

impl SecretKey {
    pub fn run(self) {
        let Self::Create = self;
        print(&hookyard_node::tools::new_secret_key());
    }
}
