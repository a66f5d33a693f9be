//! What somebody has not read of a conversation's end, by what receipts know of its senders.

use std::sync::Arc;

use bus::LogError;
use protocol::{UserId, limits};

use crate::conversation::{Conversation, State};
use crate::service::Service;

/// The end of a conversation as one of its members sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// `seq` of the last message.
    pub(crate) last_message: Option<u64>,
    /// Messages of others above what he has read, at most [`limits::UNREAD_MOST`].
    pub(crate) unread: u32,
}

impl Service {
    /// The end of a conversation for somebody who sees nothing up to `hidden` and has read everything up to `read_seq`; as
    /// far back as the log reaches, and as senders are remembered.
    pub(crate) async fn tail_of(
        &self,
        conversation: &Conversation,
        state: &State,
        user: &UserId,
        hidden: u64,
        read_seq: u64,
    ) -> Result<Tail, LogError> {
        let (after, up_to) = (hidden.max(read_seq), state.head.seq);
        let ring = self.senders.rings.get_with_by_ref(&conversation.id, Arc::default);
        let mut ring = ring.lock().await;
        if ring.last() < up_to {
            self.read_senders(conversation, state, &mut ring, after, up_to).await?;
        }
        let most = usize::try_from(limits::UNREAD_MOST).unwrap_or(usize::MAX);
        let unread = ring.of_others(user, after, up_to, most);
        Ok(Tail {
            last_message: ring.last_message(up_to).filter(|it| *it > hidden),
            unread: u32::try_from(unread).unwrap_or(limits::UNREAD_MOST),
        })
    }
}
