//! A socket's way into a room: is its user a member, who are the members, who is there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::rpc::{LookAround, OpenRoom, Room, Sight};
use protocol::server_frame::{Presence, Status, Subscribed};
use protocol::signal::Subscribed as Now;
use protocol::{ConversationId, Refusal, UserId, limits};

use super::Rooms;
use crate::app::App;
use crate::session::Session;

const DEADLINE: Duration = Duration::from_millis(1_900);
/// Members whose presence is asked for at once.
const ASKED_MOST: usize = 1_000;

/// Subscribes a socket; the answer without its `ref`.
///
/// # Errors
/// `not_found`, `invalid` past [`limits::SUBSCRIPTIONS`], `unavailable`: the socket is not subscribed then.
pub async fn subscribe(app: &Arc<App>, session: &Arc<Session>, id: &ConversationId) -> Result<Subscribed, Refusal> {
    let full = {
        let rooms = session.rooms.lock();
        rooms.len() >= limits::SUBSCRIPTIONS && !rooms.contains(id)
    };
    if full {
        return Err(too_many());
    }
    let opening = Opening::new(&app.hub.rooms, id);
    let request = OpenRoom {
        user_id: session.user_id.clone(),
        conversation_id: id.as_str().to_owned(),
        with_members: opening.without_members,
    };
    let room = bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?;
    let asked = app.hub.rooms.enter(id, session, &room, opening.without_members)?;
    match look(app, id, &asked).await {
        Ok(sight) => {
            let subscribed = app.hub.rooms.settle(id, session, room.seq, &asked, &sight);
            subscribed.ok_or_else(Refusal::no_conversation)
        }
        Err(refusal) => {
            app.hub.rooms.leave(session, id);
            Err(refusal)
        }
    }
}

fn too_many() -> Refusal {
    Refusal::invalid(format!(
        "a socket is subscribed to {} rooms at most: unsubscribe from one first",
        limits::SUBSCRIPTIONS
    ))
}

/// Asks the presence service about a room and some users, once it knows what this node has reported.
///
/// # Errors
/// `unavailable`.
pub async fn look(app: &Arc<App>, id: &ConversationId, users: &[UserId]) -> Result<Sight, Refusal> {
    let report = app.reporter.flush(app).await;
    let mut chunks = users.chunks(ASKED_MOST);
    let mut sight = look_at(app, Some(id), chunks.next().unwrap_or_default(), report.clone()).await?;
    for users in chunks {
        let more = look_at(app, None, users, report.clone()).await?;
        sight.presence.extend(more.presence);
    }
    Ok(sight)
}

async fn look_at(
    app: &Arc<App>,
    id: Option<&ConversationId>,
    users: &[UserId],
    report: (String, u64),
) -> Result<Sight, Refusal> {
    let request = LookAround {
        conversation_id: id.cloned(),
        users: users.to_vec(),
        last_seen: false,
        report: Some(report),
    };
    bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await
}

/// Keeps a room while a socket is on its way in, however that ends.
struct Opening<'a> {
    rooms: &'a Rooms,
    id: &'a ConversationId,
    without_members: bool,
}

impl<'a> Opening<'a> {
    fn new(rooms: &'a Rooms, id: &'a ConversationId) -> Self {
        let without_members = rooms.state.lock().open(id);
        Self {
            rooms,
            id,
            without_members,
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.rooms.state.lock().opened(self.id);
    }
}

impl Rooms {
    /// Adds a subscriber whose user was a member as of `room`. Returns whose presence is not known yet.
    fn enter(
        &self,
        id: &ConversationId,
        session: &Arc<Session>,
        room: &Room,
        with_members: bool,
    ) -> Result<Vec<UserId>, Refusal> {
        let mut state = self.state.lock();
        // A removal that this node has seen is newer than the answer. It takes this lock after the memberships.
        let removed = session.user().is_some_and(|user| {
            let until = user.memberships(|mine| mine.get(id).and_then(|span| span.until));
            until.is_some_and(|until| until > room.seq)
        });
        if removed {
            return Err(Refusal::no_conversation());
        }
        if with_members {
            state.set_members(id, room.seq, room.members.clone());
        }
        let mut rooms = session.rooms.lock();
        if rooms.len() >= limits::SUBSCRIPTIONS && !rooms.contains(id) {
            return Err(too_many());
        }
        if let Some(first) = state.enter(id, session) {
            rooms.push(id.clone());
            if first {
                self.changes.room(id, &session.user_id, Now::Here);
            }
        }
        let mut asked = if with_members { room.members.clone() } else { Vec::new() };
        if !asked.contains(&session.user_id) {
            asked.push(session.user_id.clone());
        }
        Ok(asked)
    }

    /// Takes in the look of a socket that has come in, and tells it what it starts from; `None` where its user has just
    /// been removed. Of those present only additions are taken: who has left meanwhile may have been told already.
    fn settle(
        &self,
        id: &ConversationId,
        session: &Arc<Session>,
        seq: u64,
        asked: &[UserId],
        sight: &Sight,
    ) -> Option<Subscribed> {
        let mut state = self.state.lock();
        let mut sight = sight.clone();
        let known = state.rooms.get(id).map(|room| room.present.clone()).unwrap_or_default();
        sight.present.extend(
            known
                .into_iter()
                .filter(|it| !sight.present.contains(it))
                .collect::<Vec<_>>(),
        );
        state.reconcile(id, asked, &sight);
        if !state.settle(id, session) {
            return None;
        }
        let seen: HashMap<&UserId, &Presence> = sight.presence.iter().map(|it| (&it.user_id, it)).collect();
        let mut users = state.rooms.get(id).map(|room| room.present.clone()).unwrap_or_default();
        if !users.contains(&session.user_id) {
            users.push(session.user_id.clone());
        }
        let presence = |user: &UserId| {
            let known = state.presence(user).or(seen.get(user).copied());
            known.cloned().unwrap_or_else(|| Presence {
                user_id: user.clone(),
                status: Status::Online,
                last_seen: None,
            })
        };
        Some(Subscribed {
            conversation_id: id.clone(),
            seq,
            present: users.iter().take(limits::PRESENT_LISTED).map(presence).collect(),
            present_count: users.len() as u64,
            typing: state.typing.of(id),
            reference: None,
        })
    }
}
