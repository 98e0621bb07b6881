//! Drift: what the documents and the build say must agree.

mod chart;
mod crates_name_only_whom_they_may;
mod deployment;
mod documents;
mod publishers;
mod reference;
