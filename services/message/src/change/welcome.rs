//! The conversation as those see it who are added to it: what the state tells, and what MongoDB knows beyond it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::http::{Conversation as Shown, HistoryAccess};
use protocol::server_frame::MessageIncoming;
use protocol::{Refusal, UserId, limits};
use tokio::time::Instant;

use crate::conversation::shown::shown;
use crate::conversation::{Conversation, State};
use crate::service::{Service, unavailable};
use crate::store::unsigned;

/// Time for MongoDB: whoever adds somebody does not wait long for an ornament.
const MOST: Duration = Duration::from_millis(300);

/// What only MongoDB knows; nothing where it did not answer in time.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    /// Read and delivered, by member.
    watermarks: HashMap<UserId, (u64, u64)>,
    last_message: Option<MessageIncoming>,
    /// Messages that somebody who has read nothing has not read.
    unread: u32,
}

impl Welcome {
    /// The conversation as of `state`, for somebody who has read nothing.
    pub(crate) fn conversation(&self, state: &State) -> Shown {
        let mut conversation = shown(state);
        for member in &mut conversation.members {
            let known = self.watermarks.get(&member.user_id);
            (member.read_seq, member.delivered_seq) = known.copied().unwrap_or_default();
        }
        if state.history == HistoryAccess::All {
            conversation.last_message = self.last_message.clone();
            conversation.unread = self.unread;
        }
        conversation
    }
}

impl Service {
    /// What there is to tell to those who come into a conversation.
    pub(super) async fn welcome(&self, conversation: &Arc<Conversation>, state: &State) -> Welcome {
        let found = tokio::time::timeout(MOST, self.read_welcome(conversation, state)).await;
        found.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn read_welcome(&self, conversation: &Arc<Conversation>, state: &State) -> Result<Welcome, Refusal> {
        if state.head.position > 0 {
            let deadline = Instant::now() + MOST;
            self.wait_stored(conversation.lane, state.head.position, deadline)
                .await?;
        }
        let id = &state.id;
        let read = async {
            let members = self.store.first_members(id, limits::MEMBERS_LISTED);
            let last = self.store.history(id, 0, u64::MAX, false, 1);
            let unread = self.store.messages_count(id, i64::from(limits::UNREAD_MOST));
            tokio::try_join!(members, last, unread)
        };
        let (members, mut last, unread) = read.await.map_err(|error| unavailable(&error))?;
        Ok(Welcome {
            watermarks: members
                .into_iter()
                .map(|it| (it.key.user_id, (unsigned(it.read), unsigned(it.delivered))))
                .collect(),
            last_message: last.pop(),
            unread: u32::try_from(unread).unwrap_or(limits::UNREAD_MOST),
        })
    }
}
