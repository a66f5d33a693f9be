//! What one worker counted in one phase, and the sum over workers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies above this are counted as this.
const MOST_US: u64 = 120_000_000;

/// Latencies in microseconds, to three digits.
#[derive(Debug, Clone)]
pub(super) struct Latency(Histogram<u64>);

/// A latency's distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Latency {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, MOST_US, 3)?))
    }

    pub(super) fn record(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MOST_US));
    }

    fn add(&mut self, other: &Self) {
        // The bounds are the same everywhere.
        let _ = self.0.add(&other.0);
    }

    pub(super) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max() as f64 / 1e3,
        }
    }
}

/// Counts of one phase. "Measured" leaves the warm-up out.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) acked: u64,
    /// How many deliveries the messages acked must lead to.
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) acked_measured: u64,
    pub(super) delivered_measured: u64,
    pub(super) last_ack: Instant,
    pub(super) last_delivery: Instant,
    /// Receipts that the members sent.
    pub(super) confirmed_measured: u64,
    /// Receipts of others that the members were told of.
    pub(super) told_measured: u64,
    /// When the last receipt was sent or told.
    pub(super) last_receipt: Instant,
    /// Error frames by code.
    pub(super) refused: BTreeMap<String, u64>,
    /// From the time due to the ack.
    pub(super) ack: Latency,
    /// From the time due to each delivery.
    pub(super) deliver: Latency,
    /// From the time due to the send: what the load generator itself adds.
    pub(super) late: Latency,
}

impl Tally {
    pub(super) fn new(start: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            sent: 0,
            acked: 0,
            expected: 0,
            delivered: 0,
            acked_measured: 0,
            delivered_measured: 0,
            last_ack: start,
            last_delivery: start,
            confirmed_measured: 0,
            told_measured: 0,
            last_receipt: start,
            refused: BTreeMap::new(),
            ack: Latency::new()?,
            deliver: Latency::new()?,
            late: Latency::new()?,
        })
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.acked_measured += other.acked_measured;
        self.delivered_measured += other.delivered_measured;
        self.last_ack = self.last_ack.max(other.last_ack);
        self.last_delivery = self.last_delivery.max(other.last_delivery);
        self.confirmed_measured += other.confirmed_measured;
        self.told_measured += other.told_measured;
        self.last_receipt = self.last_receipt.max(other.last_receipt);
        for (code, count) in &other.refused {
            *self.refused.entry(code.clone()).or_default() += count;
        }
        self.ack.add(&other.ack);
        self.deliver.add(&other.deliver);
        self.late.add(&other.late);
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Whether every message was answered, and every delivery that an ack promised was made.
    pub(super) fn is_settled(&self) -> bool {
        self.acked + self.refusals() >= self.sent && self.delivered >= self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up() {
        let start = Instant::now();
        let mut sum = Tally::new(start).unwrap();
        for millis in [1, 3] {
            let mut one = Tally::new(start).unwrap();
            one.sent = 2;
            one.acked = 1;
            one.refused.insert("unavailable".into(), 1);
            one.expected = 1;
            one.delivered = 1;
            one.deliver.record(Duration::from_millis(millis));
            sum.add(&one);
        }
        assert_eq!((sum.sent, sum.refused["unavailable"], sum.is_settled()), (4, 2, true));
        let percentiles = sum.deliver.percentiles();
        assert!((percentiles.p50 - 1.0).abs() < 0.01 && (percentiles.max - 3.0).abs() < 0.01);
        sum.expected += 1;
        assert!(!sum.is_settled());
    }
}
