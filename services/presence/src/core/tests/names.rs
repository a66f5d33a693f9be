//! Users, rooms, and a second.

use std::time::Duration;

use protocol::{ConversationId, UserId};

use crate::core::rooms::Place;

pub(super) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(super) fn room(n: u8) -> ConversationId {
    ConversationId::parse(&format!("g{n:032x}")).unwrap()
}

pub(super) fn place(n: u8, name: &str) -> Place {
    (room(n), user(name))
}

pub(super) const SECOND: Duration = Duration::from_secs(1);
