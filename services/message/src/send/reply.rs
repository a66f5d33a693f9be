//! Whether what a reply refers to is a message.

use std::sync::Arc;
use std::time::Duration;

use bus::LogError;
use protocol::Refusal;

use super::rules::no_such_message;
use crate::conversation::Conversation;
use crate::event::Seen;
use crate::service::{Service, unavailable};
use crate::store::StoreError;

/// How long MongoDB may take before the log is asked instead: a send does not wait for a database that hangs.
const STORE_MOST: Duration = Duration::from_millis(250);

impl Service {
    /// MongoDB knows by key; what it does not have yet, or cannot be asked for, the log has.
    pub(super) async fn check_reply(&self, conversation: &Arc<Conversation>, seq: u64) -> Result<(), Refusal> {
        let stored = tokio::time::timeout(STORE_MOST, self.store.is_message(&conversation.id, seq)).await;
        let stored = stored.unwrap_or_else(|_| Err(StoreError::Away("no answer in time".into())));
        let is_message = match stored {
            Ok(Some(is_message)) => is_message,
            Ok(None) => self
                .find_in_log(conversation, seq)
                .await
                .map_err(|error| unavailable(&error))?,
            Err(error) => match self.find_in_log(conversation, seq).await {
                Ok(true) => true,
                // Aged out of the log perhaps: only MongoDB could tell.
                Ok(false) => return Err(unavailable(&error)),
                Err(error) => return Err(unavailable(&error)),
            },
        };
        if is_message { Ok(()) } else { Err(no_such_message()) }
    }

    /// Bisects the stream for an entry by its `seq`: both grow together, so that 2^n entries take n reads.
    async fn find_in_log(&self, conversation: &Conversation, seq: u64) -> Result<bool, LogError> {
        let Some(last) = self.log.last(conversation.lane, &conversation.subject).await? else {
            return Ok(false);
        };
        let (mut low, mut high) = (1, last.position);
        while low <= high {
            let middle = low + (high - low) / 2;
            let batch = self
                .log
                .from(conversation.lane, &conversation.subject, middle, 1, 1 << 20)
                .await?;
            let Some(seen) = batch.records.first().and_then(|it| Seen::of(it).ok()) else {
                high = middle - 1;
                continue;
            };
            if seen.seq == seq {
                return Ok(seen.is_message);
            }
            if seen.seq > seq {
                high = middle - 1;
            } else {
                low = seen.position + 1;
            }
        }
        Ok(false)
    }
}
