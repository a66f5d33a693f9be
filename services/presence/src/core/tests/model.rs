//! What ought to be: read off the nodes directly. And what clients have been told, taken together.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::UserId;
use protocol::client_frame::{AppState, ChosenStatus};
use protocol::rpc::{LookAround, Sight, UserConnections};
use protocol::server_frame::Status;
use protocol::signal::Signal;

use super::world::World;
use crate::core::rooms::Place;
use crate::core::table::{Key, Look};

/// What somebody sees who has heard everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) users: HashMap<UserId, Status>,
    pub(super) places: HashSet<Place>,
}

/// By user and device whether it is in the foreground.
pub(super) type Devices = BTreeMap<(UserId, String), bool>;

impl View {
    fn hear(&mut self, signal: Signal) {
        match signal {
            Signal::Presence { presence, .. } if presence.status == Status::Offline => {
                self.users.remove(&presence.user_id);
            }
            Signal::Presence { presence, .. } => {
                self.users.insert(presence.user_id, presence.status);
            }
            Signal::Joined {
                conversation_id,
                user_id,
            } => {
                self.places.insert((conversation_id, user_id));
            }
            Signal::Left {
                conversation_id,
                user_id,
            } => {
                self.places.remove(&(conversation_id, user_id));
            }
            Signal::Typing { .. } | Signal::Unknown => {}
        }
    }

    fn look(&mut self, request: &LookAround, sight: &Sight) {
        for user in &request.users {
            self.users.remove(user);
        }
        let users = sight.presence.iter().map(|it| (it.user_id.clone(), it.status));
        self.users.extend(users);
        if let Some(room) = &request.conversation_id {
            self.places.retain(|(id, _)| id != room);
            let present = sight.present.iter().map(|user| (room.clone(), user.clone()));
            self.places.extend(present);
        }
    }
}

impl World {
    /// How the user ought to appear once everything has settled.
    pub(super) fn status(&self, user: &UserId) -> Status {
        let mut nodes = self.nodes.iter().filter(|it| it.alive && it.has(user)).peekable();
        let chosen = self.choices.get(user).map(|it| it.status).unwrap_or_default();
        if nodes.peek().is_none() {
            return Status::Offline;
        }
        match chosen {
            ChosenStatus::Invisible => Status::Offline,
            ChosenStatus::Dnd => Status::Dnd,
            ChosenStatus::Away => Status::Away,
            ChosenStatus::Online if nodes.any(|it| it.is_active(user)) => Status::Online,
            ChosenStatus::Online => Status::Away,
        }
    }

    /// From which devices the users ought to be connected, each with whether somebody looks at it.
    pub(super) fn devices(&self, users: &[UserId]) -> Devices {
        let mut devices = Devices::new();
        for node in self.nodes.iter().filter(|it| it.alive) {
            for (user, session) in users
                .iter()
                .flat_map(|user| node.sessions(user).map(move |it| (user, it)))
            {
                let looks = session.state == AppState::Foreground && !session.idle;
                let key = (user.clone(), session.device_id.clone());
                *devices.entry(key).or_default() |= looks;
            }
        }
        devices
    }

    /// The same as a replica tells it.
    pub(super) fn told_devices(&self, replica: usize, users: &[UserId]) -> Devices {
        let told = self.replicas[replica].core.connections(users).users.into_iter();
        let of = |it: UserConnections| {
            it.devices
                .into_iter()
                .map(move |(id, state)| ((it.user_id.clone(), id), state))
        };
        told.flat_map(of)
            .map(|(key, state)| (key, state == AppState::Foreground))
            .collect()
    }

    pub(super) fn is_there(&self, place: &Place) -> bool {
        self.status(&place.1) != Status::Offline && self.nodes.iter().any(|it| it.alive && it.is_in(place))
    }

    /// Of the signals told since the moment, in their order, those about the user.
    pub(super) fn told_of(&self, name: &str) -> Vec<String> {
        let of = |signal: &Signal| match signal {
            Signal::Presence { presence, .. } if presence.user_id.as_str() == name => {
                Some(format!("{:?}", presence.status).to_lowercase())
            }
            Signal::Joined { user_id, .. } if user_id.as_str() == name => Some("joined".to_owned()),
            Signal::Left { user_id, .. } if user_id.as_str() == name => Some("left".to_owned()),
            _ => None,
        };
        self.told.iter().filter_map(|(_, _, signal)| of(signal)).collect()
    }

    /// What clients see who heard every signal, and everything that anybody was shown.
    pub(super) fn view(&self) -> View {
        let mut view = View::default();
        let mut looks = self.looks.iter().peekable();
        for told in 0..=self.told.len() {
            while let Some((_, request, sight)) = looks.next_if(|(before, ..)| *before <= told) {
                view.look(request, sight);
            }
            if let Some((_, _, signal)) = self.told.get(told) {
                view.hear(signal.clone());
            }
        }
        view
    }

    /// What ought to be seen, of these users and places.
    pub(super) fn truth(&self, users: &[UserId], places: &[Place]) -> View {
        let visible = users.iter().map(|user| (user.clone(), self.status(user)));
        View {
            users: visible.filter(|it| it.1 != Status::Offline).collect(),
            places: places.iter().filter(|it| self.is_there(it)).cloned().collect(),
        }
    }

    /// What a replica knows.
    pub(super) fn known(&self, replica: usize) -> View {
        let table = &self.replicas[replica].core.table;
        let mut view = View::default();
        for key in table.visible() {
            match (table.look(&key), key) {
                (Look::Status(status), Key::User(user)) => {
                    view.users.insert(user, status);
                }
                (_, Key::Place(place)) => {
                    view.places.insert(place);
                }
                (Look::There(_), Key::User(_)) => {}
            }
        }
        view
    }

    pub(super) fn known_status(&self, replica: usize, name: &str) -> Status {
        let user = super::names::user(name);
        self.known(replica).users.get(&user).copied().unwrap_or_default()
    }
}
