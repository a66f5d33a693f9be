//! A socket's way into a room: is its user a member, who are the members, who is there.
//!
//! The first socket here reads the members and how they appear; signals keep that, so those that come later ask only
//! whether their user is a member, and about himself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::rpc::{LookAround, OpenRoom, Room, Sight};
use protocol::server_frame::{Presence, Status, Subscribed};
use protocol::signal::Subscribed as Now;
use protocol::{ConversationId, Refusal, UserId, limits};
use tokio::time::timeout;

use super::Rooms;
use super::state::Moment;
use crate::app::App;
use crate::session::Session;

const DEADLINE: Duration = Duration::from_millis(1_900);
/// For all of it, where a room of ten thousand is read.
const SUBSCRIBE_MOST: Duration = Duration::from_secs(6);
/// Members whose presence is asked for at once.
const ASKED_MOST: usize = 1_000;

/// Subscribes a socket; the answer without its `ref`.
///
/// # Errors
/// `not_found`, `invalid` past [`limits::SUBSCRIPTIONS`], `unavailable`. Where the socket was not subscribed before, it is
/// not then; where it was, it stays so.
pub async fn subscribe(app: &Arc<App>, session: &Arc<Session>, id: &ConversationId) -> Result<Subscribed, Refusal> {
    let full = {
        let rooms = session.rooms.lock();
        rooms.len() >= limits::SUBSCRIPTIONS && !rooms.contains(id)
    };
    if full {
        return Err(too_many());
    }
    let mut entered = false;
    let way = timeout(SUBSCRIBE_MOST, come_in(app, session, id, &mut entered)).await;
    let result = way.unwrap_or_else(|_| Err(Refusal::unavailable("the room could not be read in time: try again")));
    if result.is_err() && entered {
        app.hub.rooms.leave(session, id);
    }
    result
}

fn too_many() -> Refusal {
    Refusal::invalid(format!(
        "a socket is subscribed to {} rooms at most: unsubscribe from one first",
        limits::SUBSCRIPTIONS
    ))
}

/// `entered`: whether the socket was not in the room and is now.
async fn come_in(
    app: &Arc<App>,
    session: &Arc<Session>,
    id: &ConversationId,
    entered: &mut bool,
) -> Result<Subscribed, Refusal> {
    let rooms = &app.hub.rooms;
    let looking = Looking::begin(rooms, id);
    let first = looking.as_first().await;
    let whole = first.is_some();
    let request = OpenRoom {
        user_id: session.user_id.clone(),
        conversation_id: id.as_str().to_owned(),
        with_members: whole,
    };
    let room = bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?;
    *entered = rooms.enter(id, session, &room, whole)?;
    let mut asked = if whole { room.members } else { Vec::new() };
    if !asked.contains(&session.user_id) {
        asked.push(session.user_id.clone());
    }
    // Where few are present, who is costs nothing, and signals that were lost meanwhile are made up for.
    let at_room = whole || rooms.is_small(id);
    let sight = look(app, at_room.then_some(id), &asked).await?;
    if sight.late {
        rooms.doubt(id);
    }
    let subscribed = rooms.settle(session, &looking, room.seq, (&asked, &sight, at_room));
    subscribed.ok_or_else(Refusal::no_conversation)
}

/// Asks the presence service about a room and some users, once it knows what this node has reported.
///
/// # Errors
/// `unavailable`.
pub async fn look(app: &Arc<App>, id: Option<&ConversationId>, users: &[UserId]) -> Result<Sight, Refusal> {
    let report = app.reporter.flush(app).await;
    let mut chunks = users.chunks(ASKED_MOST);
    let mut sight = look_at(app, id, chunks.next().unwrap_or_default(), report.clone()).await?;
    for users in chunks {
        let more = look_at(app, None, users, report.clone()).await?;
        sight.presence.extend(more.presence);
        sight.late |= more.late;
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

/// A look at a room under way: keeps the room, however it ends.
#[derive(Debug)]
pub(super) struct Looking<'a> {
    rooms: &'a Rooms,
    pub(super) id: &'a ConversationId,
    pub(super) since: Moment,
}

impl<'a> Looking<'a> {
    pub(super) fn begin(rooms: &'a Rooms, id: &'a ConversationId) -> Self {
        let since = rooms.state.lock().begin_look(id);
        Self { rooms, id, since }
    }

    /// Waits until the room is known, or until it is for this one to make it known, while it holds what is returned.
    async fn as_first(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let gate = {
            let state = self.rooms.state.lock();
            if state.is_known(self.id) {
                return None;
            }
            state.rooms.get(self.id)?.gate.clone()
        };
        let held = gate.lock_owned().await;
        let known = self.rooms.state.lock().is_known(self.id);
        (!known).then_some(held)
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.rooms.state.lock().end_look(self.id);
    }
}

impl Rooms {
    /// Adds a subscriber whose user was a member as of `room`. Returns whether it was none before.
    fn enter(
        &self,
        id: &ConversationId,
        session: &Arc<Session>,
        room: &Room,
        with_members: bool,
    ) -> Result<bool, Refusal> {
        let mut state = self.state.lock();
        // A removal that this node has seen is newer than the answer. It takes this lock after the memberships.
        let removed = session.user().is_some_and(|user| {
            let until = user.memberships(|mine| mine.get(id).and_then(|span| span.until));
            until.is_some_and(|until| until > room.seq)
        });
        if removed {
            return Err(Refusal::no_conversation());
        }
        if with_members && !state.set_members(id, room.seq, room.members.clone()) {
            metrics::counter!("parley_rooms_refused_total").increment(1);
            return Err(Refusal::unavailable(
                "this node looks into too many rooms already: unsubscribe from some, or reconnect",
            ));
        }
        let mut rooms = session.rooms.lock();
        if rooms.len() >= limits::SUBSCRIPTIONS && !rooms.contains(id) {
            return Err(too_many());
        }
        let Some(first) = state.enter(id, session) else {
            return Ok(false);
        };
        rooms.insert(id.clone());
        if first {
            self.changes.room(id, &session.user_id, Now::Here);
        }
        Ok(true)
    }

    /// Whether few enough are present to be listed.
    fn is_small(&self, id: &ConversationId) -> bool {
        let state = self.state.lock();
        let room = state.rooms.get(id);
        room.is_some_and(|room| room.present.len() <= limits::PRESENT_LISTED)
    }

    /// Takes in the look of a socket that has come in (whom it asked for, what it saw, whether it was at the room), and
    /// tells it what it starts from; `None` where its user has just been removed.
    fn settle(
        &self,
        session: &Arc<Session>,
        looking: &Looking<'_>,
        seq: u64,
        (asked, sight, at_room): (&[UserId], &Sight, bool),
    ) -> Option<Subscribed> {
        let id = looking.id;
        let mut state = self.state.lock();
        state.reconcile_people(asked, sight, looking.since);
        if at_room {
            state.reconcile_present(id, sight, looking.since);
        }
        if !state.settle(id, session) {
            return None;
        }
        let present = &state.rooms.get(id)?.present;
        let alone = (!present.contains(&session.user_id)).then_some(&session.user_id);
        let seen: HashMap<&UserId, &Presence> = sight.presence.iter().map(|it| (&it.user_id, it)).collect();
        let presence = |user: &UserId| {
            let known = state.presence(user).or(seen.get(user).copied());
            known.cloned().unwrap_or_else(|| Presence {
                user_id: user.clone(),
                status: Status::Online,
                last_seen: None,
            })
        };
        let users = present.iter().chain(alone);
        Some(Subscribed {
            conversation_id: id.clone(),
            seq,
            present: users.take(limits::PRESENT_LISTED).map(presence).collect(),
            present_count: (present.len() + usize::from(alone.is_some())) as u64,
            typing: state.typing.of(id),
            reference: None,
        })
    }
}
