//! What operators see: every metric declared once, and the set-up of logs.

pub mod label;
pub mod logs;
mod metrics;
mod typed;

pub use metrics::Metrics;
pub use typed::{CounterBy, HistogramBy};
