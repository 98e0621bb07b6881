//! Wiring: configuration, the choice of backend, roles, listeners, and the life of a process. The only crate that sees adapters and
//! services together.

pub mod config;
mod dataset;
pub mod doctor;
pub mod load;
pub mod roles;
pub mod seams;
pub mod settings;
pub mod shown;
pub mod token;
pub mod tools;

mod backend;
mod built_in_apps;
mod docs;
mod http;
mod idempotency;
pub mod local;
pub mod openapi;
mod ops;
mod quota;
mod serve;
mod service_links;
mod session;
mod spill;
mod start;
pub mod supervisor;
mod survey;
mod system;
mod units;

pub use config::Config;
pub use hookyard_egress::install_crypto;
pub use roles::{Role, Roles};
pub use seams::Seams;
pub use settings::Settings;
pub use start::{Running, start};
