//! What happened, counted: the core keeps no metrics itself.

/// Since they were last taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Nodes that were silent for a lease.
    pub(crate) leases_ended: u64,
    /// Snapshots asked for.
    pub(crate) snapshots_asked: u64,
    /// Reports that found no room to wait for a snapshot.
    pub(crate) reports_dropped: u64,
    /// Reports of nodes past the bound, or with an impossible name.
    pub(crate) nodes_refused: u64,
    /// Signals about users of other replicas.
    pub(crate) take_overs: u64,
    /// Times of last being seen that fell out of memory.
    pub(crate) seen_forgotten: u64,
    /// How often this replica could not tell silence from its own.
    pub(crate) doubts: u64,
}

impl Counts {
    /// Names of metrics and their values.
    pub(crate) fn each(self) -> [(&'static str, u64); 7] {
        [
            ("parley_presence_leases_ended_total", self.leases_ended),
            ("parley_presence_snapshots_asked_total", self.snapshots_asked),
            ("parley_presence_reports_dropped_total", self.reports_dropped),
            ("parley_presence_nodes_refused_total", self.nodes_refused),
            ("parley_presence_take_overs_total", self.take_overs),
            ("parley_presence_seen_forgotten_total", self.seen_forgotten),
            ("parley_presence_doubts_total", self.doubts),
        ]
    }
}
