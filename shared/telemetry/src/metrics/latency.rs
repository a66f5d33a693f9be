//! A histogram of durations for what happens hundreds of thousands of times a second.
//!
//! The recorder behind the macros keeps each sample until it is put into its bucket: 16 bytes and a clock reading for
//! each. Here a sample is one addition to an atomic, and what is handed over together is one addition for all of it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::BUCKETS_S;

const COUNT: usize = BUCKETS_S.len();

/// Upper bounds in microseconds.
const BOUNDS_US: [u64; COUNT] = {
    let mut bounds = [0; COUNT];
    let mut index = 0;
    while index < COUNT {
        bounds[index] = (BUCKETS_S[index] * 1_000_000.0 + 0.5) as u64;
        index += 1;
    }
    bounds
};

/// One series: a name and the values of its labels.
#[derive(Debug)]
pub struct Latency {
    /// As in the exposition: `name="value"`, with commas between; or nothing.
    labels: &'static str,
    /// By bucket, the last one beyond all bounds.
    counts: [AtomicU64; COUNT + 1],
    sum_us: AtomicU64,
}

impl Latency {
    /// Of a series with these labels, in the form `name="value",…`.
    pub const fn new(labels: &'static str) -> Self {
        Self {
            labels,
            counts: [const { AtomicU64::new(0) }; COUNT + 1],
            sum_us: AtomicU64::new(0),
        }
    }

    /// Records one.
    pub fn record(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(took_us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Records some that were gathered, and empties them.
    pub fn record_all(&self, some: &mut Samples) {
        for (count, own) in some.counts.iter_mut().zip(&self.counts) {
            if *count > 0 {
                own.fetch_add(u64::from(std::mem::take(count)), Ordering::Relaxed);
            }
        }
        self.sum_us
            .fetch_add(std::mem::take(&mut some.sum_us), Ordering::Relaxed);
    }

    pub(super) fn render(&self, name: &str, text: &mut String) {
        let comma = if self.labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound, own) in BUCKETS_S.iter().zip(&self.counts) {
            count += own.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{}{comma}le=\"{bound}\"}} {count}", self.labels);
        }
        count += self.counts[COUNT].load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{{}{comma}le=\"+Inf\"}} {count}", self.labels);
        let sum = Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        let _ = writeln!(text, "{name}_sum{{{}}} {sum}", self.labels);
        let _ = writeln!(text, "{name}_count{{{}}} {count}", self.labels);
    }
}

/// Samples that are gathered before they are recorded: of one write to a socket, say.
#[derive(Debug, Default)]
pub struct Samples {
    counts: [u32; COUNT + 1],
    sum_us: u64,
}

impl Samples {
    /// Takes one, in milliseconds; below zero, where clocks differ, it counts as zero.
    pub fn add_ms(&mut self, took_ms: i64) {
        let took_us = u64::try_from(took_ms).unwrap_or(0).saturating_mul(1_000);
        self.counts[bucket(took_us)] += 1;
        self.sum_us = self.sum_us.saturating_add(took_us);
    }
}

/// A value belongs to the first bucket whose bound it does not exceed.
fn bucket(took_us: u64) -> usize {
    BOUNDS_US.partition_point(|bound| *bound < took_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_bucket_whose_bound_it_does_not_exceed() {
        let latency = Latency::new(r#"transport="sse""#);
        latency.record(Duration::from_millis(250));
        latency.record(Duration::from_micros(250_001));
        latency.record(Duration::from_secs(1_000));
        let mut text = String::new();
        latency.render("it_seconds", &mut text);
        for line in [
            r#"it_seconds_bucket{transport="sse",le="0.1"} 0"#,
            r#"it_seconds_bucket{transport="sse",le="0.25"} 1"#,
            r#"it_seconds_bucket{transport="sse",le="0.5"} 2"#,
            r#"it_seconds_bucket{transport="sse",le="+Inf"} 3"#,
            r#"it_seconds_sum{transport="sse"} 1000.500001"#,
            r#"it_seconds_count{transport="sse"} 3"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn what_is_gathered_is_recorded_once_and_a_clock_that_is_ahead_counts_as_no_time() {
        let latency = Latency::new("");
        let mut some = Samples::default();
        some.add_ms(-40);
        some.add_ms(30);
        latency.record_all(&mut some);
        latency.record_all(&mut some);
        let mut text = String::new();
        latency.render("it_seconds", &mut text);
        assert!(text.contains("it_seconds_bucket{le=\"0.0005\"} 1\n"), "{text}");
        assert!(text.contains("it_seconds_count{} 2\n"), "{text}");
        assert!(text.contains("it_seconds_sum{} 0.03\n"), "{text}");
    }
}
