//! Who is in a conversation, for the services that tell people of messages: whoever asks, no membership is checked.

use protocol::Refusal;
use protocol::rpc::{Audience, ReadAudience};

use super::within;
use crate::conversation::State;
use crate::service::Service;

impl Service {
    /// The conversation as of an entry that was its last one after the request began. MongoDB is not needed while the
    /// log holds the conversation's last change.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn audience(&self, request: ReadAudience) -> Result<Audience, Refusal> {
        within(async {
            let conversation = self.conversations.open(&request.conversation_id);
            let state = self.state_now(&conversation).await?;
            Ok(of(state))
        })
        .await
    }
}

fn of(state: State) -> Audience {
    Audience {
        state_at: state.state_at,
        conversation_type: state.conversation_type,
        members: state.members.iter().map(|it| it.user_id.clone()).collect(),
        name: state.name,
    }
}

#[cfg(test)]
mod tests {
    use protocol::server_frame::ConversationType;

    use super::*;
    use crate::conversation::state::tests::{ann_and_bob, user};

    #[test]
    fn an_audience_is_all_members_and_where_they_became_it() {
        let audience = of(ann_and_bob());
        let expected = Audience {
            state_at: 10,
            conversation_type: ConversationType::Direct,
            name: None,
            members: vec![user("ann"), user("bob")],
        };
        assert_eq!(audience, expected);
    }
}
