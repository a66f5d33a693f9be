//! The hub: tails every lane of the log and offers each event to the sessions on this node that get it.
//!
//! Who may do what is not decided here: memberships are facts of the log. Nothing here writes to a socket.

pub mod event;
mod holes;
pub mod lane;
pub mod memberships;
mod replay;
mod resume;
pub mod trace;
pub mod user;
pub mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bus::tail::{Start, TailEvent};
use bus::{Log, LogError, directory};
use parking_lot::Mutex;
use protocol::server_frame::ResyncReason;
use protocol::{ConversationId, Cursor, UserId};

pub use replay::{CatchUp, PAGE_EVENTS, Page};
pub use resume::Resume;

use self::event::{Event, Kind};
use self::lane::LaneHub;
use self::memberships::{Memberships, Span};
use self::user::{Interest, User};
use crate::room::Rooms;
use crate::session::Session;

const USER_SHARDS: usize = 64;
/// Entries of each lane that a starting node reads back, so that clients of a node that just died find their events
/// in memory here.
const WARM_UP: u64 = 25_000;

/// See the module.
#[derive(Debug)]
pub struct Hub {
    /// The log.
    pub log: Log,
    /// One for each lane, in cursor order.
    pub lanes: Vec<LaneHub>,
    interest: Interest,
    users: Vec<Mutex<HashMap<UserId, Arc<User>>>>,
    /// Counts resets of lanes: positions read before and after one do not belong together.
    resets: AtomicU64,
    sessions: AtomicU64,
    heads: Heads,
    max_age: Duration,
    /// Rooms that sockets of this node are subscribed to.
    pub rooms: Rooms,
}

/// Readings of the lanes' ends, shared by all who ask while one is under way.
#[derive(Debug, Default)]
struct Heads {
    reading: tokio::sync::Mutex<()>,
    begun: AtomicU64,
    done: AtomicU64,
    /// Whether the last reading found the streams that this node follows.
    same: AtomicBool,
}

impl Hub {
    /// A hub standing a little before the end of each lane, and where each lane's end was: it is warm once dispatched
    /// up to there.
    ///
    /// # Errors
    /// NATS did not answer.
    pub async fn new(log: Log, memory_mib: u64, max_age: Duration) -> Result<(Arc<Self>, Vec<u64>), LogError> {
        let count = usize::from(log.partitions()) + 1;
        let window_bytes = usize::try_from(memory_mib << 20).unwrap_or(usize::MAX) / count;
        let (mut lanes, mut ends) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for lane in log.lanes() {
            let Some(state) = log.state(lane).await? else {
                return Err(LogError::Away(format!("stream {} does not exist", lane.stream())));
            };
            let position = state.last.saturating_sub(WARM_UP).max(state.first - 1);
            lanes.push(LaneHub::new(lane, state.identity, position, window_bytes));
            ends.push(state.last);
        }
        let hub = Self {
            interest: Interest::new(log.partitions()),
            log,
            lanes,
            users: (0..USER_SHARDS).map(|_| Mutex::default()).collect(),
            resets: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            heads: Heads::default(),
            max_age,
            rooms: Rooms::default(),
        };
        Ok((Arc::new(hub), ends))
    }

    /// Tails one lane for ever; the caller drops the future to end it.
    pub async fn tail(self: Arc<Self>, index: usize) {
        let lane = &self.lanes[index];
        let start = Start {
            identity: lane.identity(),
            position: lane.dispatched(),
        };
        let bus = self.log.bus().clone();
        bus::tail::follow(bus, lane.lane, start, |event| match event {
            TailEvent::Record {
                position,
                payload,
                traceparent,
            } => self.dispatch(index, position, &payload, traceparent.as_deref()),
            TailEvent::Reset(start) => self.reset(index, start),
        })
        .await;
    }

    fn dispatch(&self, index: usize, position: u64, payload: &[u8], traceparent: Option<&str>) {
        let lane = &self.lanes[index];
        let (event, _span) = match Event::parse(index, position, payload) {
            Ok(mut event) => {
                let span = event.dispatch_span(&lane.lane.stream(), traceparent);
                (Arc::new(event), span)
            }
            Err(error) => {
                metrics::counter!("parley_unreadable_total", "what" => "event").increment(1);
                tracing::warn!(%error, stream = lane.lane.stream(), position, "skipped a log entry");
                lane.advance(position);
                return;
            }
        };
        let mut window = lane.window.lock();
        window.push(event.clone());
        let leaves = matches!(event.kind, Kind::Removed(_));
        if !leaves {
            self.apply_changes(&event);
        }
        match &event.kind {
            Kind::Receipt { user, to: Some(to), .. } => {
                // Looked up one by one: a receipt in a group of ten thousand must not cost ten thousand looks.
                let now = to.iter().filter(|told| window.is_news(told)).map(|told| &told.0);
                now.chain([user]).for_each(|user| self.offer_receipt(user, &event));
            }
            kind => {
                let receipt = matches!(kind, Kind::Receipt { .. });
                self.interest.each(&event.conversation_id, |party| {
                    if receipt || event.seq >= party.since {
                        party.user.offer(&event);
                    }
                });
            }
        }
        if leaves {
            // Last: his own removal is the last event that somebody gets.
            self.apply_changes(&event);
        }
        lane.advance(position);
        drop(window);
        if !event.changes().is_empty() {
            self.rooms.members_changed(&event);
        }
    }

    /// Takes in what an event means for the memberships of users who are here.
    fn apply_changes(&self, event: &Event) {
        for user in event.changes() {
            if let Some(user) = self.user(user) {
                self.interest.apply(&user, event);
            }
        }
    }

    fn offer_receipt(&self, id: &UserId, event: &Arc<Event>) {
        let Some(user) = self.user(id) else { return };
        if user.memberships(|mine| mine.is_member(&event.conversation_id)) {
            user.offer(event);
        }
    }

    fn reset(&self, index: usize, start: Start) {
        let lane = &self.lanes[index];
        let same = lane.identity() == start.identity;
        let reason = if same {
            ResyncReason::Expired
        } else {
            ResyncReason::OtherLog
        };
        tracing::warn!(
            stream = lane.lane.stream(),
            position = start.position,
            ?reason,
            "the log is not what it was"
        );
        metrics::counter!("parley_log_resets_total").increment(1);
        let mut window = lane.window.lock();
        window.reset(start.position);
        self.resets.fetch_add(1, Ordering::AcqRel);
        lane.reset(start.identity, start.position);
        for shard in &self.users {
            for user in shard.lock().values() {
                user.sessions
                    .read()
                    .iter()
                    .for_each(|session| session.reset_lane(index, start.position, reason));
            }
        }
        self.resets.fetch_add(1, Ordering::AcqRel);
    }

    fn shard(&self, id: &UserId) -> &Mutex<HashMap<UserId, Arc<User>>> {
        let sum = id
            .as_str()
            .bytes()
            .fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        &self.users[sum % USER_SHARDS]
    }

    fn user(&self, id: &UserId) -> Option<Arc<User>> {
        self.shard(id).lock().get(id).cloned()
    }

    /// The index of a conversation's lane.
    pub fn lane_of(&self, id: &ConversationId) -> usize {
        usize::from(id.partition(self.log.partitions()))
    }

    /// Registers a session; from then on it misses no change of its user's memberships. Its lanes are behind until it
    /// has caught up.
    ///
    /// # Errors
    /// The directory cannot be read. The session is registered all the same, as it is where this is not waited for: it is
    /// for its [`Feed`](crate::session::feed::Feed) to end that.
    pub async fn attach(&self, session: &Arc<Session>) -> Result<(), LogError> {
        let user = {
            let mut shard = self.shard(&session.user_id).lock();
            let user = shard
                .entry(session.user_id.clone())
                .or_insert_with(|| Arc::new(User::new(session.user_id.clone())))
                .clone();
            user.sessions.write().push(session.clone());
            user
        };
        let count = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::gauge!("parley_sessions").set(count as f64);
        user.loaded.get_or_try_init(|| self.load(&user)).await?;
        session.set_user(user.clone());
        Ok(())
    }

    /// Forgets a session; with its last session, the user. Returns false where it was forgotten before.
    pub fn detach(&self, session: &Arc<Session>) -> bool {
        let mut shard = self.shard(&session.user_id).lock();
        let Some(user) = shard.get(&session.user_id).cloned() else {
            return false;
        };
        let mut sessions = user.sessions.write();
        let before = sessions.len();
        sessions.retain(|it| !Arc::ptr_eq(it, session));
        if sessions.len() == before {
            return false;
        }
        let last = sessions.is_empty();
        drop(sessions);
        if last {
            shard.remove(&session.user_id);
            self.interest.remove(&user);
        }
        drop(shard);
        let count = self.sessions.fetch_sub(1, Ordering::Relaxed) - 1;
        metrics::gauge!("parley_sessions").set(count as f64);
        true
    }

    /// A user's sessions on this node.
    pub fn sessions_of(&self, id: &UserId) -> Vec<Arc<Session>> {
        self.user(id)
            .map(|user| user.sessions.read().clone())
            .unwrap_or_default()
    }

    /// The users on this node who take part in a conversation, of those that get what has this `seq`.
    pub fn parties(&self, id: &ConversationId, seq: u64) -> Vec<Arc<User>> {
        let mut users = Vec::new();
        self.interest.each(id, |party| {
            if party.since <= seq {
                users.push(party.user.clone());
            }
        });
        users
    }

    /// What happens while this reads is taken in by dispatch; see [`Memberships::set`].
    async fn load(&self, user: &Arc<User>) -> Result<(), LogError> {
        for (id, span) in self.read_memberships(&user.id).await?.into_spans() {
            self.interest.set(user, &id, span);
        }
        Ok(())
    }

    /// The memberships of any user, connected here or not.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub async fn memberships(&self, id: &UserId) -> Result<Memberships, LogError> {
        match self.user(id).filter(|user| user.loaded.initialized()) {
            Some(user) => Ok(user.memberships(Memberships::clone)),
            None => self.read_memberships(id).await,
        }
    }

    async fn read_memberships(&self, id: &UserId) -> Result<Memberships, LogError> {
        let mut memberships = Memberships::none(id.clone());
        for entry in directory::list(self.log.bus(), id).await? {
            let conversation = entry.membership.conversation_id.clone();
            let span = Span::of(entry, self.lane_of(&conversation));
            memberships.set(&conversation, span);
        }
        // What the log has and the directory not yet: changes that no service has lived to answer.
        for lane in &self.lanes {
            let window = lane.window.lock();
            for event in window.changes_of(id) {
                if let Some(span) = memberships.span_after(event) {
                    memberships.set(&event.conversation_id, span);
                }
            }
        }
        Ok(memberships)
    }

    /// All sessions on this node.
    pub fn sessions(&self) -> Vec<Arc<Session>> {
        let users = self
            .users
            .iter()
            .flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>());
        users.flat_map(|user| user.sessions.read().clone()).collect()
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// The text of a cursor at `positions`; `None` if a lane was reset since `resets` was read.
    pub fn cursor(&self, positions: Vec<u64>, resets: u64) -> Option<String> {
        let cursor = Cursor {
            log: self.identity(),
            positions,
        }
        .encode();
        (resets.is_multiple_of(2) && self.resets() == resets).then_some(cursor)
    }

    /// Number of resets so far, odd while one is under way; see [`Hub::cursor`].
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }

    /// The identity of all lanes together.
    pub fn identity(&self) -> u64 {
        self.lanes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, lane| {
            (hash ^ lane.identity()).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// How far each lane was dispatched.
    pub fn dispatched(&self) -> Vec<u64> {
        self.lanes.iter().map(LaneHub::dispatched).collect()
    }

    /// The ends of all lanes, not older than this call: what was acked to anybody before lies before them. However many
    /// ask at once, it is one reading. `None`: a stream is another one than this node follows, which it will notice in a
    /// moment.
    ///
    /// # Errors
    /// NATS did not answer.
    pub async fn head(&self) -> Result<Option<Vec<u64>>, LogError> {
        let wanted = self.heads.begun.load(Ordering::Acquire) + 1;
        let reading = self.heads.reading.lock().await;
        if self.heads.done.load(Ordering::Acquire) < wanted {
            let this = self.heads.begun.fetch_add(1, Ordering::AcqRel) + 1;
            let states = self.lanes.iter().map(|lane| self.log.state(lane.lane));
            let mut same = true;
            for (lane, state) in self.lanes.iter().zip(futures_util::future::try_join_all(states).await?) {
                match state.filter(|state| state.identity == lane.identity()) {
                    Some(state) => lane.note(state.last),
                    None => same = false,
                }
            }
            self.heads.same.store(same, Ordering::Release);
            self.heads.done.store(this, Ordering::Release);
        }
        let same = self.heads.same.load(Ordering::Acquire);
        drop(reading);
        Ok(same.then(|| self.lanes.iter().map(LaneHub::known).collect()))
    }
}
