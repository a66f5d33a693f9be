//! Who is in a conversation, kept as long as no message says that it has changed.

use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use protocol::rpc::{Audience, ReadAudience};
use protocol::{ConversationId, Refusal};

/// In members, all conversations together.
const CACHED_MOST: u64 = 2_000_000;
const WAIT: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(crate) struct Audiences {
    bus: Bus,
    known: moka::sync::Cache<ConversationId, Arc<Audience>>,
}

impl Audiences {
    pub(crate) fn new(bus: Bus) -> Self {
        let weight = |_: &ConversationId, it: &Arc<Audience>| u32::try_from(it.members.len() + 1).unwrap_or(u32::MAX);
        let known = moka::sync::Cache::builder()
            .max_capacity(CACHED_MOST)
            .weigher(weight)
            .build();
        Self { bus, known }
    }

    /// Of a message whose conversation was last changed by the entry at `state_at`: as it was then, or is now.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub(crate) async fn get(&self, id: &ConversationId, state_at: u64) -> Result<Arc<Audience>, Refusal> {
        // A stream that was made anew begins with small numbers: what is cached of the old one may look newer. It is of the
        // same conversation all the same, and the caller checks nothing else by it.
        match self.known.get(id).filter(|it| it.state_at == state_at) {
            Some(known) => Ok(known),
            None => self.get_now(id).await,
        }
    }

    /// As it is now.
    ///
    /// # Errors
    /// `not_found`; `unavailable`.
    pub(crate) async fn get_now(&self, id: &ConversationId) -> Result<Arc<Audience>, Refusal> {
        let request = ReadAudience {
            conversation_id: id.clone(),
        };
        let audience = Arc::new(bus::rpc::call(&self.bus, &request, WAIT).await?);
        self.known.insert(id.clone(), audience.clone());
        Ok(audience)
    }
}
