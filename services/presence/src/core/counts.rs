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
