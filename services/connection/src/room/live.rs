//! A live signal on its way to sessions: what it says, and what about.

use protocol::{ConversationId, ServerFrame, UserId};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// See the module. Made once and shared by the sessions that get it.
#[derive(Debug)]
pub struct Live {
    /// The frame.
    pub text: Utf8Bytes,
    /// A later signal about the same says all that this one says.
    pub about: About,
}

/// What a signal is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum About {
    /// How a user appears.
    Status(UserId),
    /// Whether a user is in a room.
    Place(ConversationId, UserId),
    /// Whether a user is writing in a room.
    Typing(ConversationId, UserId),
}

impl Live {
    /// The signal of a frame.
    pub fn new(frame: &ServerFrame, about: About) -> Self {
        Self {
            text: frame.encode().into(),
            about,
        }
    }

    /// Whether it is of that room alone.
    pub fn is_of(&self, room: &ConversationId) -> bool {
        match &self.about {
            About::Status(_) => false,
            About::Place(id, _) | About::Typing(id, _) => id == room,
        }
    }
}
