//! A conversation as its member sees it, made from the log alone: what a change answers with while MongoDB is away.

use std::time::Duration;

use bus::LogError;
use protocol::http::Conversation as Shown;
use protocol::server_frame::MessageIncoming;
use protocol::{Code, Refusal, UserId};

use crate::conversation::shown::shown;
use crate::conversation::{Conversation, State};
use crate::event::Event;
use crate::service::{Service, unavailable};

/// Time for MongoDB; after it the answer is made from the log.
const STORED_MOST: Duration = Duration::from_millis(800);
/// Time for the log.
const LOGGED_MOST: Duration = Duration::from_millis(600);

impl Service {
    /// The conversation as `user` sees it who is a member in `state`; from the log where MongoDB does not answer soon.
    ///
    /// # Errors
    /// `not_found` where he is none any more, `unavailable`.
    pub(crate) async fn conversation_after(
        &self,
        user: &UserId,
        conversation: &Conversation,
        state: &State,
    ) -> Result<Shown, Refusal> {
        let stored = tokio::time::timeout(STORED_MOST, self.one_conversation(user, &state.id)).await;
        match stored {
            Ok(Err(refusal)) if refusal.code != Code::Unavailable => return Err(refusal),
            Ok(Ok(shown)) => return Ok(shown),
            Ok(Err(_)) | Err(_) => {}
        }
        let logged = tokio::time::timeout(LOGGED_MOST, self.logged_conversation(user, conversation, state)).await;
        let logged = logged.unwrap_or_else(|_| Err(LogError::Away("no answer in time".into())));
        logged.map_err(|error| unavailable(&error))
    }

    /// Messages that the log no longer has, or that are further back than receipts look, are neither shown nor counted.
    async fn logged_conversation(
        &self,
        user: &UserId,
        conversation: &Conversation,
        state: &State,
    ) -> Result<Shown, LogError> {
        let mut shown = shown(state);
        let mut users: Vec<&UserId> = shown.members.iter().map(|it| &it.user_id).collect();
        users.push(user);
        let watermarks = self.logged_watermarks(&state.id, &users).await?;
        shown.read_seq = watermarks.get(user).map_or(0, |it| it.0);
        for member in &mut shown.members {
            let known = watermarks.get(&member.user_id);
            (member.read_seq, member.delivered_seq) = known.copied().unwrap_or_default();
        }
        let hidden = state.visible_from(user).saturating_sub(1);
        let tail = self.tail_of(conversation, state, user, hidden, shown.read_seq).await?;
        shown.unread = tail.unread;
        if let Some(seq) = tail.last_message {
            shown.last_message = self.logged_message(conversation, seq).await?;
        }
        Ok(shown)
    }

    async fn logged_message(&self, conversation: &Conversation, seq: u64) -> Result<Option<MessageIncoming>, LogError> {
        let found = self.first_from(conversation, seq).await?;
        let event = found.and_then(|it| Event::decode(&it.payload).ok());
        Ok(event.and_then(|it| match it {
            Event::Message(it) if it.seq == seq => Some(it),
            _ => None,
        }))
    }
}
