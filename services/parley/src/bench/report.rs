//! What a run says: a table for people, the same as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::checker::Faults;
use super::cpu_table::CpuTable;
use super::jetstream::Baseline;
use super::store::Missing;
use super::tally::Percentiles;
use super::usage::CpuSpan;

/// One rate.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    pub(super) rate: f64,
    pub(super) sent: u64,
    pub(super) acked: u64,
    /// Neither acked nor refused.
    pub(super) unanswered: u64,
    pub(super) delivered: u64,
    /// Deliveries that acks promised and that did not come.
    pub(super) undelivered: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) acked_measured: u64,
    pub(super) acked_per_second: f64,
    pub(super) delivered_per_second: f64,
    pub(super) ack_ms: Percentiles,
    pub(super) deliver_ms: Percentiles,
    pub(super) generator_late_ms: Percentiles,
    /// From the last ack until all was stored; absent where it was not in time.
    pub(super) stored_after_ms: Option<f64>,
    /// The most messages that were acked and not yet stored.
    pub(super) stored_behind_most: u64,
    /// Over the measured seconds and until all is stored.
    pub(super) cpu: CpuSpan,
    pub(super) is_good: bool,
}

/// What was proved about all messages of the run.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    pub(super) messages: u64,
    pub(super) faults: Faults,
    pub(super) missing: Missing,
    /// Messages of sampled conversations, compared one by one with the history over HTTP.
    pub(super) history_compared: u64,
    /// Sampled conversations whose history differs.
    pub(super) history_differs: u64,
    pub(super) sockets_closed: u64,
}

/// A run of pairs or groups.
#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub(super) scenario: &'static str,
    pub(super) conversations: usize,
    pub(super) members: usize,
    pub(super) text_bytes: u64,
    pub(super) seconds: u64,
    pub(super) steps: Vec<Step>,
    pub(super) highest_good_rate: Option<f64>,
    pub(super) baseline: Option<Baseline>,
    /// Acked a second here, as a part of the baseline's.
    pub(super) ratio_to_baseline: Option<f64>,
    pub(super) proof: Proof,
}

/// A run of idle sockets.
#[derive(Debug, Serialize)]
pub(super) struct Idle {
    pub(super) scenario: &'static str,
    pub(super) sockets: u64,
    pub(super) connect_seconds: f64,
    /// Of the connection processes together, before and after.
    pub(super) connection_rss_kib: (u64, u64),
    pub(super) kib_per_socket: f64,
    /// Growth of each process, in KiB.
    pub(super) growth_kib: BTreeMap<String, i64>,
    /// CPU of the servers while all sockets are idle.
    pub(super) cpu: CpuSpan,
}

impl Step {
    /// Server CPU for 1,000 acked messages, in seconds.
    fn per_thousand(&self, seconds: f64) -> f64 {
        seconds / self.acked_measured.max(1) as f64 * 1e3
    }

    /// The step in one line.
    pub(super) fn line(&self) -> String {
        let stored = self
            .stored_after_ms
            .map_or_else(|| "never".to_owned(), |it| format!("{it:.0} ms"));
        format!(
            "{:>7.0} msg/s: acked {:.0}/s, delivered {:.0}/s, send to delivery p50 {:.2} p99 {:.2} ms, stored after \
             {stored}, CPU {:.0} ms per 1,000, refused {}: {}",
            self.rate,
            self.acked_per_second,
            self.delivered_per_second,
            self.deliver_ms.p50,
            self.deliver_ms.p99,
            self.per_thousand(self.cpu.seconds()) * 1e3,
            self.refused.values().sum::<u64>(),
            if self.is_good { "good" } else { "too much" }
        )
    }
}

impl Proof {
    /// Whether nothing was lost, doubled, reordered, or left out of the store.
    pub(super) fn holds(&self) -> bool {
        self.faults.is_none() && self.missing == Missing::default() && self.history_differs == 0
    }
}

/// A latency as a line of a table whose columns are p50, p90, p99, p99.9 and the most.
pub(super) fn row(f: &mut Formatter<'_>, what: &str, it: &Percentiles) -> fmt::Result {
    let Percentiles {
        p50,
        p90,
        p99,
        p999,
        max,
    } = it;
    writeln!(
        f,
        "  {what:<22} {p50:>9.2} {p90:>9.2} {p99:>9.2} {p999:>9.2} {max:>9.2}"
    )
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:.0} messages/s offered", self.rate)?;
        writeln!(
            f,
            "  acked {:>12.0}/s   delivered {:>12.0}/s",
            self.acked_per_second, self.delivered_per_second
        )?;
        writeln!(
            f,
            "  {:<22} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "ms", "p50", "p90", "p99", "p99.9", "max"
        )?;
        row(f, "send to ack", &self.ack_ms)?;
        row(f, "send to delivery", &self.deliver_ms)?;
        row(f, "load generator late", &self.generator_late_ms)?;
        match self.stored_after_ms {
            Some(ms) => writeln!(
                f,
                "  all stored {ms:.0} ms after the last ack, {} behind at most",
                self.stored_behind_most
            )?,
            None => writeln!(
                f,
                "  NOT all stored in time, {} behind at most",
                self.stored_behind_most
            )?,
        }
        if self.unanswered + self.undelivered > 0 || !self.refused.is_empty() {
            let (unanswered, undelivered, refused) = (self.unanswered, self.undelivered, &self.refused);
            writeln!(
                f,
                "  UNANSWERED {unanswered}   UNDELIVERED {undelivered}   refused {refused:?}"
            )?;
        }
        write!(f, "{}", CpuTable(&self.cpu, self.acked_measured))
    }
}

impl Display for Traffic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (rooms, members, bytes) = (self.conversations, self.members, self.text_bytes);
        writeln!(
            f,
            "{}: {rooms} conversations of {members}, texts of {bytes} bytes, {} s",
            self.scenario, self.seconds
        )?;
        if self.steps.len() > 1 {
            self.steps.iter().try_for_each(|step| writeln!(f, "{}", step.line()))?;
        }
        let best = self.steps.iter().rfind(|it| Some(it.rate) == self.highest_good_rate);
        if let Some(step) = best.or(self.steps.first()) {
            write!(f, "{step}")?;
        }
        if self.steps.len() > 1 {
            let best = self
                .highest_good_rate
                .map_or_else(|| "none".to_owned(), |it| format!("{it:.0} messages/s"));
            writeln!(f, "\nhighest good rate: {best}")?;
        }
        if let (Some(it), Some(ratio)) = (&self.baseline, self.ratio_to_baseline) {
            let (rate, bytes, window) = (it.acked_per_second, it.payload_bytes, it.window);
            write!(
                f,
                "\nraw JetStream publishing, {bytes} bytes, {window} in flight: {rate:.0}/s; "
            )?;
            writeln!(f, "acked here: {ratio:.2} of it")?;
        }
        write!(f, "{}", self.proof)
    }
}

impl Display for Proof {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Faults {
            lost,
            doubled,
            reordered,
            gaps,
            mismatched,
            overtaken,
        } = self.faults;
        let verdict = if self.holds() { "right" } else { "WRONG" };
        writeln!(f, "\n{} messages: {verdict}", self.messages)?;
        writeln!(
            f,
            "  lost {lost}, doubled {doubled}, reordered {reordered}, gaps {gaps}, mismatched {mismatched}"
        )?;
        if overtaken > 0 {
            writeln!(f, "  refused as unknown, yet logged, after later ones: {overtaken}")?;
        }
        let Missing { events, too_many } = self.missing;
        writeln!(
            f,
            "  not stored {events}, conversations with too many stored {too_many}"
        )?;
        let (compared, differs) = (self.history_compared, self.history_differs);
        writeln!(
            f,
            "  {compared} compared with the history over HTTP, conversations that differ {differs}"
        )?;
        if self.sockets_closed > 0 {
            writeln!(f, "  SOCKETS CLOSED {}", self.sockets_closed)?;
        }
        Ok(())
    }
}

impl Display for Idle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "idle: {} authenticated sockets, opened in {:.1} s",
            self.sockets, self.connect_seconds
        )?;
        let (before, after) = self.connection_rss_kib;
        let each = self.kib_per_socket;
        writeln!(
            f,
            "  connection processes: {before} KiB before, {after} KiB after: {each:.2} KiB a socket"
        )?;
        for (name, kib) in &self.growth_kib {
            writeln!(f, "  {name:<22} grew by {kib:>9} KiB")?;
        }
        for cpu in &self.cpu.servers {
            writeln!(f, "  {:<22} {:>9.3} cores while idle", cpu.name, cpu.cores)?;
        }
        Ok(())
    }
}
