//! Metric vectors whose labels are types: a series that was not declared cannot be written.

use std::marker::PhantomData;
use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::label::Label;

/// Labels of one series, in order.
pub trait Labels: Copy {
    /// Their names.
    fn names() -> Vec<&'static str>;
    /// Every combination.
    fn combinations() -> Vec<Vec<&'static str>>;
    /// The values of this series.
    fn with<R>(self, use_values: impl FnOnce(&[&str]) -> R) -> R;
}

impl<A: Label> Labels for A {
    fn names() -> Vec<&'static str> {
        vec![A::NAME]
    }
    fn combinations() -> Vec<Vec<&'static str>> {
        A::all().into_iter().map(|a| vec![a.value()]).collect()
    }
    fn with<R>(self, use_values: impl FnOnce(&[&str]) -> R) -> R {
        use_values(&[self.value()])
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn names() -> Vec<&'static str> {
        vec![A::NAME, B::NAME]
    }
    fn combinations() -> Vec<Vec<&'static str>> {
        A::all().into_iter().flat_map(|a| B::all().into_iter().map(move |b| vec![a.value(), b.value()])).collect()
    }
    fn with<R>(self, use_values: impl FnOnce(&[&str]) -> R) -> R {
        use_values(&[self.0.value(), self.1.value()])
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn names() -> Vec<&'static str> {
        vec![A::NAME, B::NAME, C::NAME]
    }
    fn combinations() -> Vec<Vec<&'static str>> {
        let rest = <(B, C)>::combinations();
        A::all().into_iter().flat_map(|a| rest.iter().map(move |rest| [&[a.value()], &rest[..]].concat())).collect()
    }
    fn with<R>(self, use_values: impl FnOnce(&[&str]) -> R) -> R {
        use_values(&[self.0.value(), self.1.value(), self.2.value()])
    }
}

/// A counter per combination of labels.
#[derive(Clone, Debug)]
pub struct CounterBy<L>(IntCounterVec, PhantomData<fn(L)>);

impl<L: Labels> CounterBy<L> {
    pub(crate) fn new(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Self> {
        let vector = IntCounterVec::new(Opts::new(name, help), &L::names())?;
        for values in L::combinations() {
            vector.with_label_values(&values).inc_by(0);
        }
        registry.register(Box::new(vector.clone()))?;
        Ok(Self(vector, PhantomData))
    }

    /// One more.
    pub fn inc(&self, labels: L) {
        self.add(labels, 1);
    }

    /// `count` more.
    pub fn add(&self, labels: L, count: u64) {
        labels.with(|values| self.0.with_label_values(values).inc_by(count));
    }

    /// How many there were.
    pub fn get(&self, labels: L) -> u64 {
        labels.with(|values| self.0.with_label_values(values).get())
    }
}

/// A gauge per combination of labels.
#[derive(Clone, Debug)]
pub struct GaugeBy<L>(IntGaugeVec, PhantomData<fn(L)>);

impl<L: Labels> GaugeBy<L> {
    pub(crate) fn new(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Self> {
        let vector = IntGaugeVec::new(Opts::new(name, help), &L::names())?;
        for values in L::combinations() {
            vector.with_label_values(&values).set(0);
        }
        registry.register(Box::new(vector.clone()))?;
        Ok(Self(vector, PhantomData))
    }

    /// It is so many now.
    pub fn set(&self, labels: L, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        labels.with(|values| self.0.with_label_values(values).set(value));
    }

    /// So many more, or fewer.
    pub fn add(&self, labels: L, value: i64) {
        labels.with(|values| self.0.with_label_values(values).add(value));
    }
}

/// A histogram of seconds per combination of labels.
#[derive(Clone, Debug)]
pub struct HistogramBy<L>(HistogramVec, PhantomData<fn(L)>);

impl<L: Labels> HistogramBy<L> {
    pub(crate) fn new(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Self> {
        let vector = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &L::names())?;
        for values in L::combinations() {
            vector.with_label_values(&values);
        }
        registry.register(Box::new(vector.clone()))?;
        Ok(Self(vector, PhantomData))
    }

    /// Adds one observation.
    pub fn observe(&self, labels: L, duration: Duration) {
        labels.with(|values| self.0.with_label_values(values).observe(duration.as_secs_f64()));
    }
}
