//! What an event does to the members of its conversation: said once, for the state that follows the log, for the
//! projection, for the directory and for the comparison of all three.

use protocol::UserId;
use protocol::http::Role;
use protocol::server_frame::{ConversationCreated, ConversationType};

use crate::event::Event;

/// What becomes of one user, with the event's `seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect<'a> {
    /// He is a member from this event on; `place` among those who joined with it.
    Joined { user: &'a UserId, role: Role, place: usize },
    /// He is a member no more.
    Left { user: &'a UserId },
    /// He has another role, if he is a member.
    Role { user: &'a UserId, role: Role },
}

impl<'a> Effect<'a> {
    /// Whose.
    pub(crate) fn user(self) -> &'a UserId {
        match self {
            Self::Joined { user, .. } | Self::Left { user } | Self::Role { user, .. } => user,
        }
    }
}

/// Who has which role from the start: whoever created a group owns it.
fn first_role(created: &ConversationCreated, user: &UserId) -> Role {
    if created.conversation_type == ConversationType::Group && *user == created.by {
        Role::Owner
    } else {
        Role::Member
    }
}

/// Who is a member from the start.
pub(crate) fn founding(created: &ConversationCreated) -> Vec<Effect<'_>> {
    let joined = |(place, user)| Effect::Joined {
        user,
        role: first_role(created, user),
        place,
    };
    created.members.iter().enumerate().map(joined).collect()
}

impl Event {
    /// What it does to members, in order.
    pub(crate) fn effects(&self) -> Vec<Effect<'_>> {
        match self {
            Self::Message(_) | Self::Receipt(..) | Self::Newer(_) => Vec::new(),
            Self::Created(it) => founding(it),
            Self::Updated(it) => {
                let change = |(user, role)| Effect::Role { user, role };
                it.roles.iter().map(|it| (&it.user_id, it.role)).map(change).collect()
            }
            Self::Added(it, _) => {
                let joined = |(place, user)| Effect::Joined {
                    user,
                    role: Role::Member,
                    place,
                };
                it.user_ids.iter().enumerate().map(joined).collect()
            }
            Self::Removed(it, _) => {
                let left = it.user_ids.iter().map(|user| Effect::Left { user });
                let owner = it.owner.iter().map(|user| Effect::Role {
                    user,
                    role: Role::Owner,
                });
                left.chain(owner).collect()
            }
        }
    }
}
