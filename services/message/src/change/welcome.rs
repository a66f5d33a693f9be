//! The conversation as those see it who are added to it: what the state tells, what MongoDB knows beyond it, and, of who
//! has been there before, what he had read.

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

/// What the state does not tell; nothing where it could not be found out in time.
#[derive(Debug, Default)]
pub(crate) struct Welcome {
    /// Read and delivered, by member.
    watermarks: HashMap<UserId, (u64, u64)>,
    last_message: Option<MessageIncoming>,
    /// Messages that the new members have not read.
    unread: u32,
}

impl Welcome {
    /// The conversation as of `state`, for all of `added` alike: as read counts what each of them has read.
    pub(crate) fn conversation(&self, state: &State, added: &[UserId]) -> Shown {
        let mut conversation = shown(state);
        conversation.read_seq = self.read_by_all(added);
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

    /// `seq` up to which each of these users has read everything.
    fn read_by_all(&self, users: &[UserId]) -> u64 {
        let read = |it| self.watermarks.get(it).map_or(0, |it| it.0);
        users.iter().map(read).min().unwrap_or(0)
    }
}

impl Service {
    /// What there is to tell to `added`, who come into a conversation.
    pub(super) async fn welcome(&self, conversation: &Arc<Conversation>, state: &State, added: &[UserId]) -> Welcome {
        let users: Vec<&UserId> = added.iter().collect();
        let known = tokio::time::timeout(MOST, self.logged_watermarks(&state.id, &users)).await;
        let mut welcome = Welcome {
            watermarks: known.ok().and_then(Result::ok).unwrap_or_default(),
            ..Welcome::default()
        };
        let found = tokio::time::timeout(MOST, self.read_welcome(conversation, state, added, &welcome)).await;
        if let Ok(Ok(mut found)) = found {
            found.watermarks.extend(welcome.watermarks);
            welcome = found;
        }
        welcome
    }

    async fn read_welcome(
        &self,
        conversation: &Arc<Conversation>,
        state: &State,
        added: &[UserId],
        known: &Welcome,
    ) -> Result<Welcome, Refusal> {
        if state.head.position > 0 {
            let deadline = Instant::now() + MOST;
            self.wait_stored(conversation.lane, state.head.position, deadline)
                .await?;
        }
        let id = &state.id;
        let read = async {
            let members = self.store.first_members(id, limits::MEMBERS_LISTED);
            let last = self.store.history(id, 0, u64::MAX, false, 1);
            let unread = async {
                match (known.read_by_all(added), added) {
                    (read, [user, ..]) if read > 0 => self.unread_count(user, id, read + 1, state.head.seq).await,
                    _ => {
                        let count = self.store.messages_count(id, i64::from(limits::UNREAD_MOST)).await?;
                        Ok(u32::try_from(count).unwrap_or(limits::UNREAD_MOST))
                    }
                }
            };
            tokio::try_join!(members, last, unread)
        };
        let (members, mut last, unread) = read.await.map_err(|error| unavailable(&error))?;
        Ok(Welcome {
            watermarks: members
                .into_iter()
                .map(|it| (it.key.user_id, (unsigned(it.read), unsigned(it.delivered))))
                .collect(),
            last_message: last.pop(),
            unread,
        })
    }
}
