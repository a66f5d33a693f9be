//! What every request handler has at hand, and how failures of the back ends become refusals.

use std::ops::Deref;
use std::sync::Arc;

use bus::{Lane, Log};
use protocol::Refusal;
use tokio::time::Instant;

use crate::conversation::Conversations;
use crate::floor::Floor;
use crate::receipts::{Senders, Watermarks};
use crate::store::Store;

/// The message service's parts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service(Arc<Parts>);

/// See [`Service`].
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) log: Log,
    pub(crate) store: Store,
    pub(crate) floor: Floor,
    pub(crate) conversations: Conversations,
    pub(crate) watermarks: Watermarks,
    pub(crate) senders: Senders,
    pub(crate) stream: config::Stream,
}

impl Deref for Service {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Service {
    pub(crate) fn new(log: Log, store: Store, stream: config::Stream) -> Self {
        Self(Arc::new(Parts {
            floor: Floor::new(&log),
            conversations: Conversations::new(log.clone(), stream.max_age),
            watermarks: Watermarks::new(),
            senders: Senders::new(),
            log,
            store,
            stream,
        }))
    }

    /// Waits until MongoDB holds everything that `lane` has up to `position`.
    ///
    /// # Errors
    /// `unavailable` at the deadline, or as soon as MongoDB is known to be away.
    pub(crate) async fn wait_stored(&self, lane: Lane, position: u64, deadline: Instant) -> Result<(), Refusal> {
        tokio::select! {
            biased;
            past = self.floor.wait_past(lane, position, deadline) => past.map_err(|error| unavailable(&error)),
            () = self.store.until_away() => Err(unavailable(&"MongoDB is away")),
        }
    }
}

/// What the user is told when a back end is away; what exactly happened is for the operator.
pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    // At debug: the state of a back end is logged where it changes, not once for each request that meets it.
    tracing::debug!(%error, "answered unavailable");
    Refusal::unavailable("a back end is away for the moment: repeat the same request")
}
