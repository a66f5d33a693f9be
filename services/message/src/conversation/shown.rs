//! A conversation as its state shows it: without watermarks and messages, which only MongoDB has.

use protocol::http::{Conversation, Member as ListedMember};
use protocol::limits;

use super::State;
use super::members::Member;

/// See the module.
pub(crate) fn shown(state: &State) -> Conversation {
    let member = |it: &Member| ListedMember {
        user_id: it.user_id.clone(),
        role: it.role,
        read_seq: 0,
        delivered_seq: 0,
    };
    let count = state.members.len();
    Conversation {
        conversation_id: state.id.clone(),
        conversation_type: state.conversation_type,
        name: state.name.clone(),
        history: state.history,
        members: state.members.iter().take(limits::MEMBERS_LISTED).map(member).collect(),
        member_count: (count > limits::MEMBERS_LISTED).then_some(count as u64),
        seq: state.head.seq,
        created_at: state.created_at,
        last_message: None,
        read_seq: 0,
        unread: 0,
    }
}
