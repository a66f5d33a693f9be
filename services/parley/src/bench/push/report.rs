//! What `parley bench push` says.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::Options;
use super::latency::Latencies;
use super::proof::Proof;
use super::rounds::{Reached, Rounds};
use super::whole::Whole;
use crate::bench::cpu_table::CpuTable;

/// One run.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct Report {
    scenario: &'static str,
    in_flight: u64,
    groups: u64,
    members: u64,
    backlog: u64,
    raw_per_second: Spread,
    ours_per_second: Spread,
    /// The provider alone as a part of the plain client beside it.
    ratio: Spread,
    raw_cpu_us: Spread,
    ours_cpu_us: Spread,
    /// The whole way as a part of the plain client's median.
    whole_ratio: f64,
    rounds: Rounds,
    whole: Whole,
    latency: Latencies,
}

/// Of the same thing, several times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        let last = values.len().saturating_sub(1);
        Self {
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            least: at(0),
            most: at(last),
        }
    }
}

impl Report {
    pub(super) fn new(options: &Options, rounds: Rounds, whole: Whole, latency: Latencies) -> Self {
        let rates = |of: &[Reached]| Spread::of(of.iter().map(|it| it.per_second));
        let cpu = |of: &[Reached]| Spread::of(of.iter().map(|it| it.cpu_us));
        let ratios = rounds.raw.iter().zip(&rounds.ours);
        let raw = rates(&rounds.raw);
        Self {
            scenario: "push",
            in_flight: options.in_flight,
            groups: options.groups,
            members: options.members,
            backlog: options.backlog,
            raw_per_second: raw,
            ours_per_second: rates(&rounds.ours),
            ratio: Spread::of(ratios.map(|(raw, ours)| ours.per_second / raw.per_second)),
            raw_cpu_us: cpu(&rounds.raw),
            ours_cpu_us: cpu(&rounds.ours),
            whole_ratio: whole.per_second / raw.median,
            rounds,
            whole,
            latency,
        }
    }

    /// Whether every device was pushed every message once, and nothing was refused.
    pub(in crate::bench) fn holds(&self) -> bool {
        let is_timed = self.latency.lost == 0 && self.latency.doubled == 0;
        self.rounds.failed.is_empty() && self.whole.proof.holds() && is_timed
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let row = |f: &mut Formatter<'_>, what: &str, it: &Spread, digits: usize| {
            let Spread { median, least, most } = it;
            writeln!(
                f,
                "  {what:<36} {median:>10.digits$} {least:>10.digits$} {most:>10.digits$}"
            )
        };
        writeln!(
            f,
            "push: {} requests in flight, payloads of {} bytes, {} rounds of each client",
            self.in_flight,
            self.rounds.payload_bytes,
            self.rounds.raw.len()
        )?;
        writeln!(f, "  {:<36} {:>10} {:>10} {:>10}", "", "median", "least", "most")?;
        row(f, "plain HTTP/2 client, pushes/s", &self.raw_per_second, 0)?;
        row(f, "the service's provider, pushes/s", &self.ours_per_second, 0)?;
        row(f, "ratio", &self.ratio, 2)?;
        row(f, "plain client's CPU, µs a push", &self.raw_cpu_us, 1)?;
        row(f, "provider's CPU, µs a push", &self.ours_cpu_us, 1)?;
        let own = self.rounds.cpu.load_generator.as_ref().map_or(0.0, |it| it.cores);
        let others = self.rounds.cpu.others_cores;
        writeln!(f, "  cores: clients and fake {own:.2}, others here {others:.2}")?;
        if !self.rounds.failed.is_empty() {
            writeln!(f, "  FAILED {:?}", self.rounds.failed)?;
        }
        write!(f, "{}", Way(self))?;
        writeln!(
            f,
            "\nfrom the send to the provider's socket, {} messages/s, devices not connected, {} messages",
            self.latency.rate, self.latency.messages
        )?;
        let it = &self.latency.ms;
        writeln!(f, "  p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms", it.p50, it.p99, it.max)?;
        let (lost, doubled) = (self.latency.lost, self.latency.doubled);
        let others = self.latency.cpu.others_cores;
        writeln!(f, "  lost {lost}, doubled {doubled}; others here {others:.2} cores")
    }
}

/// The whole way.
struct Way<'a>(&'a Report);

impl Display for Way<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (report, whole) = (self.0, &self.0.whole);
        writeln!(
            f,
            "\nwhole way: {} groups of a sender and {} devices, at most {} pushes outstanding, {:.0} s",
            report.groups, report.members, report.backlog, whole.seconds
        )?;
        writeln!(
            f,
            "  {:.0} pushes/s: {:.2} of the plain client",
            whole.per_second, report.whole_ratio
        )?;
        writeln!(
            f,
            "  outstanding {:.0} on average, of which {:.0} in the stream of jobs; the rest was pushed in {:.2} s",
            whole.outstanding, whole.queued, whole.drained_seconds
        )?;
        write!(f, "{}", CpuTable(&whole.cpu, whole.pushes))?;
        write!(f, "{}", whole.proof)
    }
}

impl Display for Proof {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "right" } else { "WRONG" };
        let (messages, expected, accepted) = (self.messages, self.expected, self.accepted);
        writeln!(
            f,
            "\n{messages} messages, {expected} pushes wanted, {accepted} accepted: {verdict}"
        )?;
        let (lost, doubled, again) = (self.lost, self.doubled, self.again);
        writeln!(
            f,
            "  lost {lost}, doubled {doubled}, after more than one attempt {again}"
        )?;
        for (what, counts) in [
            ("REFUSED BY THE PROVIDER", &self.refused),
            ("MESSAGES REFUSED", &self.unsent),
            ("NOT PUSHED", &self.suppressed),
        ] {
            if !counts.is_empty() {
                writeln!(f, "  {what} {counts:?}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_least_and_most() {
        let spread = |values: &[f64]| {
            let it = Spread::of(values.iter().copied());
            (it.median, it.least, it.most)
        };
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0]), (2.5, 1.0, 4.0));
        assert_eq!(spread(&[]), (0.0, 0.0, 0.0));
    }

    #[test]
    fn one_push_too_many_or_too_few_is_wrong() {
        let right = Proof {
            messages: 2,
            expected: 20,
            accepted: 20,
            ..Proof::default()
        };
        assert!(right.holds());
        let wrong = |accepted, lost, doubled| Proof {
            accepted,
            lost,
            doubled,
            ..right.clone()
        };
        // One lost and another doubled: the sum alone would not tell.
        for it in [wrong(21, 0, 0), wrong(19, 1, 0), wrong(20, 1, 1)] {
            assert!(!it.holds(), "{it:?}");
        }
    }
}
