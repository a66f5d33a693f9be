//! The frames of live signals: rooms, typing, presence, whether the app is on screen.

use std::collections::HashMap;

use bus::{Bus, subjects};
use protocol::client_frame::{AppState, ChosenStatus, Reference, RoomFrame};
use protocol::rpc::{OpenRoom, SetStatus};
use protocol::server_frame::{ErrorFrame, Subscribed, Unsubscribed};
use protocol::signal::Signal;
use protocol::{ConversationId, Refusal, ServerFrame, UserId, limits};
use tokio::time::{Duration, Instant, timeout};

use super::requests::{DEADLINE, Turn};
use super::socket::Socket;
use crate::room;

/// A start that repeats one of this long ago is not passed on: receivers wait for five times that.
const TYPING_PACE: Duration = Duration::from_secs(1);
/// A start after a stop is something new, and is passed on sooner.
const TYPING_AGAIN: Duration = Duration::from_millis(200);
/// Rooms in which this socket's client is writing, remembered for the pace. In more, starts are not passed on.
const TYPING_ROOMS: usize = 64;
const TYPING_ENDS: Duration = Duration::from_millis(limits::TYPING_MS);

/// What this socket has passed on of its user's writing.
#[derive(Debug, Default)]
pub(super) struct TypingSent {
    rooms: HashMap<ConversationId, Passed>,
    /// How many were passed on.
    count: u64,
}

#[derive(Debug)]
struct Passed {
    started_at: Instant,
    stopped: bool,
}

impl TypingSent {
    /// The number of a start or stop, if it is passed on: one start a second, sooner after a stop, and the stop that belongs
    /// to it.
    fn take(&mut self, id: &ConversationId, started: bool, now: Instant) -> Option<u64> {
        let pass = self.passes(id, started, now);
        self.count += u64::from(pass);
        pass.then_some(self.count)
    }

    fn passes(&mut self, id: &ConversationId, started: bool, now: Instant) -> bool {
        let age = |it: &Passed| now.saturating_duration_since(it.started_at);
        self.rooms.retain(|_, it| age(it) < TYPING_ENDS);
        let full = self.rooms.len() >= TYPING_ROOMS;
        match self.rooms.get_mut(id) {
            Some(passed) if !started => !std::mem::replace(&mut passed.stopped, true),
            Some(passed) if age(passed) < if passed.stopped { TYPING_AGAIN } else { TYPING_PACE } => false,
            None if !started || full => false,
            _ => {
                let passed = Passed {
                    started_at: now,
                    stopped: false,
                };
                self.rooms.insert(id.clone(), passed);
                true
            }
        }
    }
}

impl Socket {
    pub(super) fn on_subscribe(&mut self, frame: &RoomFrame, reference: Option<Reference>) -> Result<(), Refusal> {
        let id = ConversationId::parse(&frame.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let (app, session) = (self.app.clone(), self.session.clone());
        self.requests.in_turn(Turn::Room(id.clone()), async move {
            Some(match room::subscribe(&app, &session, &id).await {
                Ok(subscribed) => ServerFrame::Subscribed(Subscribed {
                    reference,
                    ..subscribed
                }),
                Err(refusal) => refused(refusal, reference),
            })
        });
        Ok(())
    }

    /// Answered also where there was no subscription: the client has what it wants.
    pub(super) fn on_unsubscribe(&mut self, frame: &RoomFrame, reference: Option<Reference>) -> Result<(), Refusal> {
        let conversation_id = ConversationId::parse(&frame.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let (app, session) = (self.app.clone(), self.session.clone());
        self.requests.in_turn(Turn::Room(conversation_id.clone()), async move {
            app.hub.rooms.leave(&session, &conversation_id);
            Some(ServerFrame::Unsubscribed(Unsubscribed {
                conversation_id,
                reference,
            }))
        });
        Ok(())
    }

    pub(super) fn on_typing(
        &mut self,
        frame: &RoomFrame,
        started: bool,
        reference: Option<Reference>,
    ) -> Result<(), Refusal> {
        let id = ConversationId::parse(&frame.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let known = self.is_member(&id);
        let pass = self.typing_sent.take(&id, started, Instant::now());
        if known && pass.is_none() {
            return Ok(());
        }
        let bus = self.app.hub.log.bus().clone();
        let signal = Signal::Typing {
            conversation_id: id.clone(),
            user_id: self.session.user_id.clone(),
            started,
            session_id: self.session.id.clone(),
            number: pass.unwrap_or_default(),
        };
        let user = self.session.user_id.clone();
        self.requests.in_turn(Turn::Room(id.clone()), async move {
            let checked = if known { Ok(()) } else { check(&bus, user, &id).await };
            match checked {
                Ok(()) if pass.is_none() => None,
                Ok(()) => {
                    let payload = serde_json::to_vec(&signal).unwrap_or_default();
                    // Live or never: where NATS is away nobody is told, and not when it is back either.
                    let sent = async {
                        bus.is_up()
                            && bus
                                .client
                                .publish(subjects::TYPING_SIGNALS, payload.into())
                                .await
                                .is_ok()
                    };
                    if !timeout(TYPING_PACE, sent).await.unwrap_or(false) {
                        metrics::counter!("parley_typing_unsent_total").increment(1);
                    }
                    None
                }
                Err(refusal) => Some(refused(refusal, reference)),
            }
        });
        Ok(())
    }

    pub(super) fn on_presence(&mut self, status: ChosenStatus, reference: Option<Reference>) {
        let bus = self.app.hub.log.bus().clone();
        let request = SetStatus {
            user_id: self.session.user_id.clone(),
            status,
            session_id: self.session.id.clone(),
        };
        // The status last set wins: in the order of the frames.
        self.requests.in_turn(Turn::Status, async move {
            let set = bus::rpc::call(&bus, &request, DEADLINE).await;
            set.err().map(|refusal| refused(refusal, reference))
        });
    }

    pub(super) fn on_state(&mut self, state: AppState) {
        if self.session.set_state(state) {
            self.on_looked();
            self.app.hub.rooms.changes.user(&self.session.user_id);
        }
    }

    /// The user has done something: he is not idle.
    pub(super) fn note_activity(&mut self) {
        if self.session.set_active() {
            self.on_looked();
            self.app.hub.rooms.changes.user(&self.session.user_id);
        }
    }

    /// Whether this node knows the user as a member. False says that he may be one only just now.
    pub(super) fn is_member(&self, id: &ConversationId) -> bool {
        self.session
            .user()
            .is_some_and(|user| user.memberships(|mine| mine.is_member(id)))
    }
}

async fn check(bus: &Bus, user_id: UserId, id: &ConversationId) -> Result<(), Refusal> {
    let request = OpenRoom {
        user_id,
        conversation_id: id.as_str().to_owned(),
        with_members: false,
    };
    bus::rpc::call(bus, &request, DEADLINE).await.map(drop)
}

fn refused(refusal: Refusal, reference: Option<Reference>) -> ServerFrame {
    metrics::counter!("parley_frames_refused_total", "code" => refusal.code.as_str()).increment(1);
    ServerFrame::Error(ErrorFrame::of(refusal, reference, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_start_a_second_is_passed_on_and_the_stop_that_belongs_to_it() {
        let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let (mut sent, begin) = (TypingSent::default(), Instant::now());
        let frames = [
            (0, false, false),
            (0, true, true),
            (10, true, false),
            (20, false, true),
            (30, true, false),
            (40, false, false),
            (1_000, true, true),
            (2_000, true, true),
            (6_999, false, true),
            (9_000, false, false),
        ];
        for (ms, started, passed) in frames {
            let now = begin + Duration::from_millis(ms);
            assert_eq!(
                sent.take(&id, started, now).is_some(),
                passed,
                "{ms} ms, started: {started}"
            );
        }
    }

    #[test]
    fn who_stops_and_starts_again_is_writing_again() {
        let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let (mut sent, begin) = (TypingSent::default(), Instant::now());
        let frames = [(0, true), (300, false), (600, true), (700, false), (750, true)];
        let numbers = frames.map(|(ms, started)| sent.take(&id, started, begin + Duration::from_millis(ms)));
        assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4), None]);
    }
}
