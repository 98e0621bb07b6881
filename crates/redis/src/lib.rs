//! The directory and the journal on Redis 7.0 or later.
//!
//! `SCAN`, never `KEYS`; every change to the directory is one script; every read of it reads the dataset's sentinel too.

mod activity;
mod answers;
mod apps;
mod catalog;
mod client;
mod directory;
mod endpoints;
mod examine;
mod fleet;
mod gates;
mod journal;
mod keys;
mod lists;
mod meta;
mod pages;
mod record;
mod revocations;
mod scripts;
mod subscriptions;
mod summary;
mod tasks;
mod writer;

pub use client::{RedisConfig, RedisStore, is_url};
pub use examine::ServerFacts;
pub use journal::RedisJournal;
pub use meta::{Meta, ShardCounts};
