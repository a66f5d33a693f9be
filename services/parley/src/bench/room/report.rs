//! What `parley bench room` says: a line for each size, the growth over all, and one size in full.

use std::fmt::{self, Display, Formatter};

use protocol::limits::RECEIPTS_TO_ALL;
use serde::Serialize;

use super::curve::Curve;
use super::step::Step;
use crate::bench::cpu_table::CpuTable;
use crate::bench::report::{Proof, row};

/// One group.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct Row {
    pub(super) members: usize,
    pub(super) online: usize,
    /// Without receipts.
    pub(super) quiet: Step,
    /// With them.
    pub(super) full: Step,
    /// Members whose watermarks do not show what they confirmed.
    pub(super) marks_missing: u64,
    pub(super) proof: Proof,
}

/// All groups of a run.
#[derive(Debug, Serialize)]
pub(in crate::bench) struct Report {
    pub(super) scenario: &'static str,
    pub(super) rate: f64,
    pub(super) senders: u64,
    pub(super) seconds: u64,
    pub(super) text_bytes: u64,
    /// How the receipts of one message grow with the members online, in groups too large for all to be told.
    pub(super) growth: Option<f64>,
    pub(super) rows: Vec<Row>,
}

impl Row {
    /// Server CPU of one message without receipts, in milliseconds.
    fn message_ms(&self) -> f64 {
        self.quiet.cpu.seconds() / self.quiet.acked.max(1) as f64 * 1e3
    }

    /// Server CPU of all receipts of one message, in milliseconds: what the same load took more with them.
    fn receipts_ms(&self) -> f64 {
        self.full.cpu.seconds() / self.full.acked.max(1) as f64 * 1e3 - self.message_ms()
    }

    /// Server CPU of one receipt that a member sent, in microseconds.
    fn receipt_us(&self) -> f64 {
        self.receipts_ms() * self.full.acked as f64 / self.full.confirmed.max(1) as f64 * 1e3
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.full.seconds
    }

    fn holds(&self) -> bool {
        self.proof.holds() && self.marks_missing == 0
    }

    /// The size in one line.
    pub(super) fn line(&self) -> String {
        let full = &self.full;
        format!(
            "{} of {} online: p99 {:.1} ms, receipts sent {:.0}/s, written {:.0}/s, told {:.0}/s, {:.1} us of CPU each: {}",
            self.online,
            self.members,
            full.deliver_ms.p99,
            self.per_second(full.confirmed),
            self.per_second(full.written),
            self.per_second(full.told),
            self.receipt_us(),
            if self.holds() { "right" } else { "WRONG" }
        )
    }
}

impl Report {
    /// Whether nothing was lost, and every watermark is where it belongs.
    pub(in crate::bench) fn holds(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }

    /// Members online and what the receipts of one message cost, of each size.
    pub(super) fn curve(&self) -> Curve {
        let points = self.rows.iter().map(|it| (it.online as f64, it.receipts_ms()));
        Curve {
            title: "Server CPU for the receipts of one message".to_owned(),
            x: "members online, each of whom confirms it as delivered and as read".to_owned(),
            y: "ms".to_owned(),
            points: points.collect(),
            beyond: RECEIPTS_TO_ALL as f64,
        }
    }
}

/// The exponent of the power of the members online that the receipts of one message cost: 1 is in proportion, 2 the
/// square. In groups so small that everybody is told of every receipt it is another one, by design, so these are left
/// out. `None` where there are fewer than two sizes, or one whose receipts cost nothing that could be measured.
pub(super) fn growth(rows: &[Row]) -> Option<f64> {
    let large = rows.iter().filter(|it| it.members > RECEIPTS_TO_ALL);
    slope(&large.map(|it| (it.online as f64, it.receipts_ms())).collect::<Vec<_>>())
}

/// Least squares through the logarithms.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < 2 || points.iter().any(|(x, y)| *x <= 0.0 || *y <= 0.0) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|it| it.0).sum::<f64>() / count;
    let mean_y = logs.iter().map(|it| it.1).sum::<f64>() / count;
    let both: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let square: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    (square > 0.0).then(|| both / square)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "room: {} messages/s by {} senders, texts of {} bytes, {} s; every member online confirms each as delivered \
             and read",
            self.rate, self.senders, self.text_bytes, self.seconds
        )?;
        writeln!(
            f,
            "\n{:>8} {:>7} | {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9}",
            "", "", "send to delivery", "", "receipts/s", "", "", "CPU of one", "", ""
        )?;
        writeln!(
            f,
            "{:>8} {:>7} | {:>9} {:>9} | {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9}",
            "members", "online", "p50 ms", "p99 ms", "sent", "written", "told", "message", "its rcpts", "receipt"
        )?;
        for it in &self.rows {
            let full = &it.full;
            writeln!(
                f,
                "{:>8} {:>7} | {:>9.2} {:>9.2} | {:>9.0} {:>9.0} {:>9.0} | {:>6.2} ms {:>6.2} ms {:>6.1} us{}",
                it.members,
                it.online,
                full.deliver_ms.p50,
                full.deliver_ms.p99,
                it.per_second(full.confirmed),
                it.per_second(full.written),
                it.per_second(full.told),
                it.message_ms(),
                it.receipts_ms(),
                it.receipt_us(),
                if full.is_whole && it.quiet.is_whole {
                    ""
                } else {
                    "  TOO MUCH"
                }
            )?;
        }
        if let Some(growth) = self.growth {
            writeln!(
                f,
                "\nthe receipts of one message cost online^{growth:.2} in groups of more than {RECEIPTS_TO_ALL} (1: in \
                 proportion, 2: the square)"
            )?;
        }
        let Some(last) = self.rows.last() else {
            return Ok(());
        };
        writeln!(f, "\n{} of {} online", last.online, last.members)?;
        for (name, step) in [("without receipts", &last.quiet), ("with receipts", &last.full)] {
            writeln!(
                f,
                "{name}: acked {:.0}/s, delivered {:.0}/s, refused {}",
                step.acked_per_second, step.delivered_per_second, step.refused
            )?;
            writeln!(
                f,
                "  {:<22} {:>9} {:>9} {:>9} {:>9} {:>9}",
                "ms", "p50", "p90", "p99", "p99.9", "max"
            )?;
            row(f, "send to ack", &step.ack_ms)?;
            row(f, "send to delivery", &step.deliver_ms)?;
            row(f, "load generator late", &step.generator_late_ms)?;
            write!(f, "{}", CpuTable(&step.cpu, step.acked))?;
        }
        for it in &self.rows {
            write!(f, "{}", it.proof)?;
            writeln!(
                f,
                "  members whose watermarks are not what they confirmed {}",
                it.marks_missing
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_growth_is_the_exponent() {
        let of = |power: f64| [100.0_f64, 200.0, 1_000.0].map(|x| (x, 0.01 * x.powf(power)));
        for power in [0.0, 1.0, 2.0] {
            assert!((slope(&of(power)).unwrap() - power).abs() < 1e-9);
        }
        assert_eq!(slope(&[(100.0, 1.0)]), None);
        assert_eq!(slope(&[(100.0, 1.0), (200.0, -0.1)]), None);
        assert_eq!(slope(&[(100.0, 1.0), (100.0, 2.0)]), None);
    }
}
