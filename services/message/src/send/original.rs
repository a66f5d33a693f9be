//! Answering a repetition with the original: from the log where JetStream knows it, else from MongoDB's unique index.

use std::sync::Arc;
use std::time::Instant;

use protocol::Refusal;
use protocol::rpc::Sent;

use super::rules::Draft;
use crate::conversation::Conversation;
use crate::event::Event;
use crate::service::{Service, unavailable};

impl Service {
    /// The original of a send that the stream called a duplicate of the entry at `position`.
    pub(super) async fn original_at(
        &self,
        conversation: &Arc<Conversation>,
        draft: &Draft,
        position: u64,
    ) -> Result<Sent, Refusal> {
        let entry = self
            .log
            .at(conversation.lane, position)
            .await
            .map_err(|error| unavailable(&error))?;
        if let Some(Event::Message(it)) = entry.as_ref().and_then(|it| Event::decode(&it.payload).ok())
            && it.conversation_id == draft.conversation_id
            && it.sender_id == draft.sender
            && it.client_id == draft.send.client_id
        {
            return Ok(Sent {
                seq: it.seq,
                timestamp: it.timestamp,
                duplicate: true,
                position,
            });
        }
        // Aged out or deleted: MongoDB has it, or will.
        let stored = self.stored_original(draft).await?;
        stored.ok_or_else(|| Refusal::unavailable("the original of this repetition cannot be read yet: try again"))
    }

    /// Looks a send up that may be older than the duplicate window. `None` is conclusive: whatever the log held when
    /// the request came is in MongoDB by then, and what came later JetStream still knows.
    pub(super) async fn look_up(
        &self,
        conversation: &Arc<Conversation>,
        draft: &Draft,
        deadline: Instant,
    ) -> Result<Option<Sent>, Refusal> {
        metrics::counter!("parley_lookups_total").increment(1);
        let last = self.log.newest(conversation.lane, &conversation.subject).await;
        if let Some(last) = last.map_err(|error| unavailable(&error))? {
            self.wait_stored(conversation.lane, last.position, deadline.into())
                .await?;
        }
        let found = self.stored_original(draft).await?;
        if found.is_some() {
            metrics::counter!("parley_duplicates_total", "known_by" => "mongodb").increment(1);
        }
        Ok(found)
    }

    async fn stored_original(&self, draft: &Draft) -> Result<Option<Sent>, Refusal> {
        let found = self
            .store
            .sent(&draft.conversation_id, &draft.sender, &draft.send.client_id)
            .await;
        let found = found.map_err(|error| unavailable(&error))?;
        Ok(found.map(|(seq, timestamp)| Sent {
            seq,
            timestamp,
            duplicate: true,
            position: 0,
        }))
    }
}
