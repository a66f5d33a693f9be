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

    /// Whether the log has a message with this `seq`.
    async fn find_in_log(&self, conversation: &Conversation, seq: u64) -> Result<bool, LogError> {
        let found = self.first_from(conversation, seq).await?;
        let seen = found.as_ref().and_then(|it| Seen::of(it).ok());
        Ok(seen.is_some_and(|it| it.seq == seq && it.is_message))
    }
}
