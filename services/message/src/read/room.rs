//! What a connection node needs to know of a room when somebody there looks into it.

use protocol::rpc::{OpenRoom, Room};
use protocol::{ConversationId, Refusal};

use super::within;
use crate::conversation::load::Freshness;
use crate::service::Service;

impl Service {
    /// The room as of an entry that was its last one after the request began. MongoDB is not needed.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn room(&self, request: OpenRoom) -> Result<Room, Refusal> {
        within(async {
            let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
            let conversation = self.conversations.open(&id);
            let state = self
                .state_for(&conversation, &request.user_id, Freshness::Fresh)
                .await?;
            let members = state.members.iter().filter(|_| request.with_members);
            Ok(Room {
                seq: state.head.seq,
                members: members.map(|it| it.user_id.clone()).collect(),
            })
        })
        .await
    }
}
