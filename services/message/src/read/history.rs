//! A page of a conversation's messages.

use protocol::http::History;
use protocol::rpc::ReadHistory;
use protocol::server_frame::MessageIncoming;
use protocol::{ConversationId, Refusal};

use super::{fitting, within};
use crate::conversation::load::Freshness;
use crate::service::{Service, unavailable};

impl Service {
    /// Reads a page: newest first, or oldest first where `after` is given.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn history(&self, request: ReadHistory) -> Result<History, Refusal> {
        within(self.history_within(request)).await
    }

    async fn history_within(&self, request: ReadHistory) -> Result<History, Refusal> {
        let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let conversation = self.conversations.open(&id);
        let state = self
            .state_for(&conversation, &request.user_id, Freshness::Fresh)
            .await?;
        self.wait_for_state(&conversation, &state).await?;
        let hidden = state.visible_from(&request.user_id).saturating_sub(1);
        let (after, before) = (
            request.after.unwrap_or(0).max(hidden),
            request.before.unwrap_or(u64::MAX),
        );
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).max(1);
        let fetched = i64::from(request.limit.max(1)) + 1;
        let messages = self
            .store
            .history(&id, after, before, request.after.is_some(), fetched)
            .await;
        let messages = messages.map_err(|error| unavailable(&error))?;
        Ok(cut(messages, limit, self.answer_bytes_most()))
    }
}

/// As many messages as the page and one answer hold, but always one.
fn cut(mut messages: Vec<MessageIncoming>, limit: usize, bytes_most: usize) -> History {
    let fitting = fitting(messages.iter().take(limit), bytes_most).max(1);
    let more = messages.len() > fitting;
    messages.truncate(fitting);
    History { messages, more }
}

#[cfg(test)]
mod tests {
    use protocol::client_frame::MessageKind;
    use protocol::{ClientId, ServerId, Timestamp};

    use super::*;
    use crate::conversation::state::tests::{ann_and_bob, user};

    fn messages(count: u64) -> Vec<MessageIncoming> {
        let id = ann_and_bob().id;
        let message = |seq| MessageIncoming {
            server_id: ServerId {
                conversation_id: id.clone(),
                seq,
            },
            client_id: ClientId::generate(),
            conversation_id: id.clone(),
            seq,
            sender_id: user("ann"),
            text: "x".repeat(1_000),
            kind: MessageKind::Text,
            reply_to: None,
            attachments: Vec::new(),
            timestamp: Timestamp::from_millis(0),
        };
        (1..=count).map(message).collect()
    }

    #[test]
    fn more_is_said_only_when_there_are_more() {
        let seqs = |page: &History| page.messages.len();
        let whole = cut(messages(3), 3, usize::MAX);
        assert_eq!((seqs(&whole), whole.more), (3, false));
        let part = cut(messages(4), 3, usize::MAX);
        assert_eq!((seqs(&part), part.more), (3, true));
        let none = cut(Vec::new(), 3, usize::MAX);
        assert_eq!((seqs(&none), none.more), (0, false));
    }

    #[test]
    fn a_page_stops_at_what_one_answer_holds_but_gets_on() {
        let page = cut(messages(4), 4, 3_000);
        assert_eq!((page.messages.len(), page.more), (2, true));
        let page = cut(messages(2), 2, 10);
        assert_eq!((page.messages.len(), page.more), (1, true));
    }
}
