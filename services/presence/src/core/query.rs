//! What can be asked of the core.

use std::collections::HashSet;

use protocol::client_frame::ChosenStatus;
use protocol::limits::PRESENT_LISTED;
use protocol::rpc::{Connections, LookAround, Sight, UserConnections};
use protocol::server_frame::{Presence, Status};
use protocol::{Timestamp, UserId};

use super::{Core, Now, Phase};

/// How much there is of everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) nodes: usize,
    pub(crate) users: usize,
    pub(crate) lingering: usize,
    pub(crate) rooms: usize,
    pub(crate) waiting: usize,
    pub(crate) replicas: usize,
}

impl Core {
    /// Whether all nodes and choices have been learnt.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether an answer takes in the node's report, and everything else that others know.
    pub(crate) fn is_current(&self, report: Option<&(String, u64)>, now: Now) -> bool {
        let knows = report.is_none_or(|(name, number)| {
            let node = self.nodes.get(name);
            node.is_some_and(|node| node.ended || node.applied() >= Some(*number))
        });
        knows && self.trust.is_settled(now.at)
    }

    /// The last entry of the bucket of choices that was seen.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// What the asking node's clients may see. Times of being last seen are only those that are remembered.
    pub(crate) fn look_around(&mut self, request: &LookAround) -> Sight {
        let room = request.conversation_id.as_ref();
        let present: Vec<UserId> = room
            .into_iter()
            .flat_map(|room| self.table.present(room))
            .cloned()
            .collect();
        let mut listed = HashSet::new();
        let asked = request.users.iter().map(|user| (user, true));
        // Who asks lists no more than these; how the members appear is asked for by itself.
        let there = present.iter().take(PRESENT_LISTED).map(|user| (user, false));
        let presence = asked
            .chain(there)
            .filter(|(user, _)| listed.insert(*user))
            .filter_map(|(user, asked)| self.presence(user, asked && request.last_seen))
            .collect();
        self.voice.on_shown(room, listed.into_iter());
        Sight {
            present,
            presence,
            ..Sight::default()
        }
    }

    /// Of these users, who is connected, was so lately, or does not want to be disturbed. Whoever is in his grace is not
    /// connected.
    pub(crate) fn connections(&self, users: &[UserId]) -> Connections {
        let mut asked = HashSet::new();
        let connections = |user: &UserId| UserConnections {
            dnd: self.table.users.chosen(user) == ChosenStatus::Dnd,
            devices: self.table.users.devices(user),
            lately: self.table.users.is_lingering(user),
            user_id: user.clone(),
        };
        let users = users.iter().filter(|user| asked.insert(*user)).map(connections);
        Connections {
            users: users
                .filter(|it| it.dnd || it.lately || !it.devices.is_empty())
                .collect(),
        }
    }

    /// Whether the user has chosen to be seen by nobody.
    pub(crate) fn is_invisible(&self, user: &UserId) -> bool {
        self.table.users.is_invisible(user)
    }

    /// When the user was last seen, if that is remembered.
    pub(crate) fn last_seen(&self, user: &UserId) -> Option<Timestamp> {
        self.voice.seen.get(user)
    }

    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            nodes: self.nodes.len(),
            users: self.table.users.len(),
            lingering: self.table.users.lingering(),
            rooms: self.table.rooms.len(),
            waiting: self.voice.waiting(),
            replicas: self.voice.replicas.len(),
        }
    }

    fn presence(&self, user: &UserId, also_offline: bool) -> Option<Presence> {
        let status = self.table.users.status(user);
        if status == Status::Offline && !also_offline {
            return None;
        }
        let last_seen = self.last_seen(user).filter(|_| status == Status::Offline);
        Some(Presence {
            user_id: user.clone(),
            status,
            last_seen,
        })
    }
}
