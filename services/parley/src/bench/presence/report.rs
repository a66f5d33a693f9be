//! What `parley bench presence` says.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::bench::cpu_table::CpuTable;
use crate::bench::tally::Percentiles;
use crate::bench::usage::CpuSpan;

/// The contract: at most so long after its node was killed, a user is offline.
const OFFLINE_MS: f64 = 30_000.0;

/// One death of a node.
#[derive(Debug, Default, Serialize)]
pub(in crate::bench) struct Report {
    pub(super) scenario: &'static str,
    /// Users whose only session was on the node that died.
    pub(super) sessions: u64,
    pub(super) both: u64,
    pub(super) others: u64,
    pub(super) watchers: u64,
    pub(super) rooms: usize,
    pub(super) open_seconds: f64,
    /// From the last socket until every watcher was told that everybody is online; absent where it was not in time.
    pub(super) online_after_seconds: Option<f64>,
    /// From the kill until a watcher was told that a user is offline, over all watchers and users.
    pub(super) offline_after_ms: Percentiles,
    /// Users that a watcher was never told of, summed over the watchers; so are all the following.
    pub(super) untold: u64,
    /// Presence frames since the kill.
    pub(super) frames: u64,
    /// Users of the living node who were told to be offline.
    pub(super) flickers: u64,
    /// Users of the dead node who were told to be offline before, or online afterwards.
    pub(super) false_starts: u64,
    /// Users who were told twice to be what they were.
    pub(super) repeated: u64,
    /// Users who appear over HTTP as they should not, of some hundred that were asked for.
    pub(super) wrong_over_http: u64,
    /// Whether sockets of the living node were closed.
    pub(super) others_closed: bool,
    /// While all came online.
    pub(super) opening: CpuSpan,
    /// From the kill until all were told.
    pub(super) dying: CpuSpan,
}

impl Report {
    /// Whether exactly the dead were told to be offline, and in time.
    pub(in crate::bench) fn holds(&self) -> bool {
        let faults = self.untold + self.flickers + self.false_starts + self.wrong_over_http;
        let is_in_time = self.offline_after_ms.max <= OFFLINE_MS && self.online_after_seconds.is_some();
        faults == 0 && is_in_time && !self.others_closed
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "presence: {} sessions on the node that dies, {} users on both nodes, {} on the other, {} watchers of {} rooms",
            self.sessions, self.both, self.others, self.watchers, self.rooms
        )?;
        match self.online_after_seconds {
            Some(seconds) => writeln!(
                f,
                "  opened in {:.1} s; {seconds:.2} s after the last one all were told online",
                self.open_seconds
            )?,
            None => writeln!(
                f,
                "  opened in {:.1} s; NOT all were told online in time",
                self.open_seconds
            )?,
        }
        write!(
            f,
            "{}",
            CpuTable(&self.opening, self.sessions + self.others + 2 * self.both)
        )?;
        let Percentiles { p50, p90, p99, max, .. } = self.offline_after_ms;
        writeln!(f, "\nafter kill -9 of the node")?;
        writeln!(
            f,
            "  told offline after p50 {:.2} s, p90 {:.2} s, p99 {:.2} s, the last {:.2} s",
            p50 / 1e3,
            p90 / 1e3,
            p99 / 1e3,
            max / 1e3
        )?;
        writeln!(
            f,
            "  never told {}, flickers of others {}, false starts {}, told twice {}, frames {}, wrong over HTTP {}",
            self.untold, self.flickers, self.false_starts, self.repeated, self.frames, self.wrong_over_http
        )?;
        if self.others_closed {
            writeln!(f, "  SOCKETS OF THE OTHER NODE WERE CLOSED")?;
        }
        write!(f, "{}", CpuTable(&self.dying, self.sessions))?;
        writeln!(f, "  {}", if self.holds() { "right" } else { "WRONG" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> Report {
        Report {
            online_after_seconds: Some(1.0),
            ..Report::default()
        }
    }

    #[test]
    fn one_fault_is_enough() {
        assert!(right().holds());
        let late = Percentiles {
            max: 30_001.0,
            ..Percentiles::default()
        };
        for wrong in [
            Report { untold: 1, ..right() },
            Report { flickers: 1, ..right() },
            Report {
                false_starts: 1,
                ..right()
            },
            Report {
                wrong_over_http: 1,
                ..right()
            },
            Report {
                others_closed: true,
                ..right()
            },
            Report {
                offline_after_ms: late,
                ..right()
            },
            Report {
                online_after_seconds: None,
                ..right()
            },
        ] {
            assert!(!wrong.holds() && wrong.to_string().contains("WRONG"), "{wrong:?}");
        }
    }
}
