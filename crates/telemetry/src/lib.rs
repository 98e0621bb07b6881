//! What operators see: every metric declared once, the set-up of logs, and traces.

pub mod label;
pub mod logs;
mod metrics;
pub mod traces;
mod typed;

pub use metrics::Metrics;
pub use traces::Traces;
pub use typed::{CounterBy, HistogramBy};
