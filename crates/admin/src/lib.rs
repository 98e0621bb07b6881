//! The management API: applications, endpoints, messages and attempts, in the shapes of the compatible API.

mod activity;
mod api;
mod apps;
mod attempts;
mod auth;
mod bodies;
mod catalog_file;
mod clients;
mod console;
mod dead_letters;
mod destinations;
mod endpoint_body;
mod endpoints;
mod event_types;
mod fields;
mod headers;
mod health;
mod messages;
mod page;
mod query;
mod runs;
mod secrets;
mod stats;
mod sweep;
mod system;
mod tasks;
mod trial;

pub use api::{Api, Seams, Style, operations, routes};
pub use auth::Tokens;
pub use console::console;
pub use sweep::sweep_daily;
pub use system::{Mode, SettingOut, System};
pub use tasks::{forget, work};
