//! Users: their sessions on all nodes and the status they chose, taken together to the status that others see.

use std::collections::HashMap;
use std::time::Duration;

use protocol::client_frame::{AppState, ChosenStatus};
use protocol::server_frame::Status;
use protocol::{Timestamp, UserId};

use super::deadlines::Deadlines;
use super::node::NodeKey;
use super::now::Now;
use super::sessions::{self, Activity, Sessions};

/// Whoever comes back within it was never away to others.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
struct User {
    /// By node; a handful at most.
    on: Vec<(NodeKey, Sessions)>,
    /// Without sessions, but not yet offline to others.
    lingering: Option<Lingering>,
}

#[derive(Debug, Clone, Copy)]
struct Lingering {
    activity: Activity,
    /// When the last session ended.
    ended: Timestamp,
}

/// Everybody with sessions or a chosen status.
#[derive(Debug, Default)]
pub(crate) struct Users {
    users: HashMap<UserId, User>,
    /// Only those who chose another than the default.
    chosen: HashMap<UserId, ChosenStatus>,
    graces: Deadlines<UserId>,
}

impl User {
    fn activity(&self) -> Option<Activity> {
        let sessions = self.on.iter().map(|(_, sessions)| sessions.activity).max();
        sessions.or(self.lingering.map(|it| it.activity))
    }
}

impl Users {
    /// How the user appears to others.
    pub(crate) fn status(&self, user: &UserId) -> Status {
        let Some(activity) = self.users.get(user).and_then(User::activity) else {
            return Status::Offline;
        };
        match (self.chosen(user), activity) {
            (ChosenStatus::Invisible, _) => Status::Offline,
            (ChosenStatus::Dnd, _) => Status::Dnd,
            (ChosenStatus::Away, _) | (ChosenStatus::Online, Activity::Idle) => Status::Away,
            (ChosenStatus::Online, Activity::Active) => Status::Online,
        }
    }

    pub(crate) fn is_invisible(&self, user: &UserId) -> bool {
        self.chosen(user) == ChosenStatus::Invisible
    }

    pub(crate) fn chosen(&self, user: &UserId) -> ChosenStatus {
        self.chosen.get(user).copied().unwrap_or_default()
    }

    /// All who chose another status than the default.
    pub(crate) fn choosers(&self) -> impl Iterator<Item = &UserId> {
        self.chosen.keys()
    }

    pub(crate) fn choose(&mut self, user: &UserId, status: ChosenStatus) {
        if status == ChosenStatus::default() {
            self.chosen.remove(user);
        } else {
            self.chosen.insert(user.clone(), status);
        }
    }

    /// When the last session of a user who has none ended, while that is not shown yet.
    pub(crate) fn ended(&self, user: &UserId) -> Option<Timestamp> {
        self.users.get(user)?.lingering.map(|it| it.ended)
    }

    /// The devices that the user is connected from, see [`sessions::devices`].
    pub(crate) fn devices(&self, user: &UserId) -> Vec<(String, AppState)> {
        let on = self.users.get(user).into_iter().flat_map(|it| &it.on);
        sessions::devices(on.map(|(_, sessions)| sessions))
    }

    /// The user has these sessions, and no others, on that node.
    pub(crate) fn enter(&mut self, node: NodeKey, user: &UserId, sessions: Sessions) {
        let entry = self.users.entry(user.clone()).or_default();
        match entry.on.iter_mut().find(|(at, _)| *at == node) {
            Some(there) => there.1 = sessions,
            None => entry.on.push((node, sessions)),
        }
        entry.lingering = None;
        self.graces.clear(user);
    }

    /// The user has no sessions on that node any more, since `ended`.
    pub(crate) fn leave(&mut self, node: NodeKey, user: &UserId, ended: Timestamp, now: Now) {
        let invisible = self.is_invisible(user);
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let Some(activity) = entry.activity() else { return };
        entry.on.retain(|(at, _)| *at != node);
        if !entry.on.is_empty() || entry.lingering.is_some() {
            return;
        }
        if invisible {
            // Nobody saw him: nothing is to be shown for longer, whatever becomes of his choice.
            self.users.remove(user);
            return;
        }
        entry.lingering = Some(Lingering { activity, ended });
        self.graces.set(user.clone(), now.at + GRACE);
    }

    /// Takes a user whose grace is over, and when his last session ended.
    pub(crate) fn end_grace(&mut self, now: Now) -> Option<(UserId, Timestamp)> {
        let user = self.graces.pop(now.at)?;
        let ended = self.users.remove(&user).and_then(|it| it.lingering).map(|it| it.ended);
        Some((user, ended.unwrap_or(now.time)))
    }

    /// All who are not offline to others.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (&UserId, Status)> {
        let with_status = self.users.keys().map(|user| (user, self.status(user)));
        with_status.filter(|(_, status)| *status != Status::Offline)
    }

    /// Users with sessions, or in their grace.
    pub(crate) fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether a user is in his grace.
    pub(crate) fn is_lingering(&self, user: &UserId) -> bool {
        self.graces.get(user).is_some()
    }

    /// Users in their grace.
    pub(crate) fn lingering(&self) -> usize {
        self.graces.len()
    }
}
