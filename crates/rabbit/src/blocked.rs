//! Which connections the broker has told not to publish: under an alarm it stops reading from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hookyard_telemetry::Metrics;

/// How many of this process's connections are blocked; the metric is 1 while any is.
#[derive(Clone)]
pub struct BlockedConnections {
    count: Arc<AtomicUsize>,
    metrics: Metrics,
}

/// One connection's part.
#[derive(Clone)]
pub struct Blocked(Arc<Part>);

struct Part {
    is_blocked: AtomicBool,
    all: BlockedConnections,
}

impl BlockedConnections {
    /// None.
    pub fn new(metrics: Metrics) -> Self {
        Self { count: Arc::default(), metrics }
    }

    /// The part of a new connection, which is not blocked. Its end is the last clone's.
    pub fn part(&self) -> Blocked {
        Blocked(Arc::new(Part { is_blocked: AtomicBool::new(false), all: self.clone() }))
    }
}

impl Blocked {
    /// Whether publishing on this connection would wait.
    pub fn is_set(&self) -> bool {
        self.0.is_blocked.load(Ordering::Relaxed)
    }

    /// Notes what the broker says.
    pub fn set(&self, is_blocked: bool) {
        self.0.set(is_blocked);
    }
}

impl Part {
    fn set(&self, is_blocked: bool) {
        if self.is_blocked.swap(is_blocked, Ordering::AcqRel) == is_blocked {
            return;
        }
        let before = if is_blocked {
            self.all.count.fetch_add(1, Ordering::AcqRel)
        } else {
            self.all.count.fetch_sub(1, Ordering::AcqRel) - 1
        };
        self.all.metrics.amqp_blocked.set(i64::from(is_blocked || before > 0));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_is_one_while_any_connection_is_blocked() {
        let metrics = Metrics::unregistered();
        let all = BlockedConnections::new(metrics.clone());
        let (one, other) = (all.part(), all.part());
        let shown = || metrics.amqp_blocked.get();
        one.set(true);
        one.set(true);
        other.set(true);
        one.set(false);
        assert_eq!((shown(), one.is_set(), other.is_set()), (1, false, true));
        drop(other);
        assert_eq!(shown(), 0, "its connection has ended");
    }
}
