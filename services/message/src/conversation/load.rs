//! Fetching what [`State`] needs: the end of the log, the entries that changed members and settings, or MongoDB where
//! the log no longer has them.

use std::sync::Arc;
use std::time::Duration;

use bus::{LogError, Record};
use protocol::{Refusal, UserId};
use tokio::time::Instant;

use super::chain::{Step, Walk};
use super::state::{Follow, STATE_ELSEWHERE};
use super::{Conversation, State};
use crate::event::Seen;
use crate::service::{Service, unavailable};

/// Time for MongoDB to catch up with a change that only it can tell.
const CATCH_UP: Duration = Duration::from_millis(1_500);

/// How a conversation was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// What is known here will do, or what any copy of the log holds.
    Cached,
    /// As of an entry that was the last one after the request began, by the log's leader.
    Fresh,
}

impl Service {
    /// The conversation's state for its member `user`, fresh at least where the cached one would refuse him. The
    /// state stays with the conversation; this is a copy.
    ///
    /// # Errors
    /// `not_found` for absent and foreign conversations, `unavailable`.
    pub(crate) async fn state_for(
        &self,
        conversation: &Arc<Conversation>,
        user: &UserId,
        freshness: Freshness,
    ) -> Result<State, Refusal> {
        let mut slot = conversation.state.lock().await;
        let known = match freshness {
            Freshness::Cached => Some(self.known(conversation, &mut slot).await?),
            Freshness::Fresh => None,
        };
        let state = match known.filter(|it| it.members.contains(user)) {
            Some(state) => state,
            None => self.refresh(conversation, &mut slot).await?,
        };
        if state.members.contains(user) {
            Ok(state)
        } else {
            Err(Refusal::no_conversation())
        }
    }

    /// The conversation's state as of an entry that was its last one after the request began, whoever asks.
    ///
    /// # Errors
    /// `not_found` for absent conversations, `unavailable`.
    pub(crate) async fn state_now(&self, conversation: &Arc<Conversation>) -> Result<State, Refusal> {
        let mut slot = conversation.state.lock().await;
        self.refresh(conversation, &mut slot).await
    }

    /// A copy of what a conversation's slot holds. Where it holds nothing it is loaded from any copy of the log: as good as
    /// what was cached, and no better.
    pub(crate) async fn known(
        &self,
        conversation: &Arc<Conversation>,
        slot: &mut Option<State>,
    ) -> Result<State, Refusal> {
        if let Some(state) = slot {
            return Ok(state.clone());
        }
        let state = self.load(conversation).await?;
        *slot = Some(state.clone());
        Ok(state)
    }

    /// Brings what a conversation's slot holds up to the last entry, by the log's leader; a copy of it. A read that fails
    /// leaves in the slot what was known before.
    pub(crate) async fn refresh(
        &self,
        conversation: &Arc<Conversation>,
        slot: &mut Option<State>,
    ) -> Result<State, Refusal> {
        let last = self.log.newest(conversation.lane, &conversation.subject).await;
        let last = last.map_err(|error| unavailable(&error))?;
        let state = match slot.clone() {
            Some(state) => self.follow(conversation, slot, state, last).await?,
            None => {
                count_load();
                self.load_from(conversation, last, None).await?
            }
        };
        *slot = Some(state.clone());
        Ok(state)
    }

    /// Brings a slot up to what another replica appended before this one. From any copy of the log, if that holds it.
    pub(crate) async fn refresh_past(
        &self,
        conversation: &Arc<Conversation>,
        slot: &mut Option<State>,
        position: u64,
    ) -> Result<State, Refusal> {
        let last = self.last(conversation).await?;
        let is_past = last.as_ref().is_some_and(|it| it.position > position);
        let Some(state) = slot.clone().filter(|_| is_past) else {
            return self.refresh(conversation, slot).await;
        };
        let state = self.follow(conversation, slot, state, last).await?;
        *slot = Some(state.clone());
        Ok(state)
    }

    async fn follow(
        &self,
        conversation: &Arc<Conversation>,
        slot: &mut Option<State>,
        mut state: State,
        last: Option<Record>,
    ) -> Result<State, Refusal> {
        let seen = last
            .as_ref()
            .map(Seen::of)
            .transpose()
            .map_err(|error| unreadable(conversation, &error))?;
        match state.follow(seen.as_ref()) {
            Follow::Current => Ok(state),
            Follow::Changed => self.load_from(conversation, last, Some(state)).await,
            Follow::Reload => {
                // Positions of another stream mean nothing in this one.
                *slot = None;
                self.load_from(conversation, last, None).await
            }
            Follow::Emptied => {
                let stored = self.store.state(&conversation.id).await;
                let state = state.emptied(stored.map_err(|error| unavailable(&error))?);
                self.conversations.weigh(conversation, state.members.len());
                Ok(state)
            }
        }
    }

    /// Loads a state from nothing, from any copy of the log. That there is no such conversation is the leader's word.
    pub(crate) async fn load(&self, conversation: &Arc<Conversation>) -> Result<State, Refusal> {
        count_load();
        let last = self.last(conversation).await?;
        self.load_from(conversation, last, None).await
    }

    /// Loads the state at `last`, the conversation's last entry, on top of what is `known`.
    async fn load_from(
        &self,
        conversation: &Arc<Conversation>,
        last: Option<Record>,
        known: Option<State>,
    ) -> Result<State, Refusal> {
        let Some(last) = last else {
            return self.load_stored(conversation, None).await;
        };
        let seen = Seen::of(&last).map_err(|error| unreadable(conversation, &error))?;
        let Some(mut state) = self.load_logged(conversation, last, &seen, known).await? else {
            return self.load_stored(conversation, Some(seen)).await;
        };
        if seen.position != seen.state_at {
            state.advance(seen.head(), seen.is_message);
        }
        self.conversations.weigh(conversation, state.members.len());
        Ok(state)
    }

    /// The state as of the last change, from the chain of changes in the log. `None` where that is broken.
    async fn load_logged(
        &self,
        conversation: &Conversation,
        last: Record,
        seen: &Seen,
        known: Option<State>,
    ) -> Result<Option<State>, Refusal> {
        let read = async |position| {
            let entry = self.log.at(conversation.lane, position).await;
            entry.map_err(|error| unavailable(&error))
        };
        let mut entry = match seen.state_at {
            at if at == last.position => Some(last),
            STATE_ELSEWHERE => None,
            at => read(at).await?,
        };
        let mut walk = Walk::new(conversation.subject.clone(), known);
        loop {
            match walk.step(entry) {
                Step::Read(position) => entry = read(position).await?,
                Step::Done(state) => return Ok(Some(*state)),
                Step::Broken => return Ok(None),
                Step::Unreadable(error) => return Err(unreadable(conversation, &error)),
            }
        }
    }

    /// Members and settings from MongoDB, once it has caught up with their last change.
    async fn load_stored(&self, conversation: &Arc<Conversation>, seen: Option<Seen>) -> Result<State, Refusal> {
        if seen.is_none() && self.conversations.is_absent(&conversation.id) {
            return Err(Refusal::no_conversation());
        }
        if let Some(seen) = seen.filter(|it| it.state_at != STATE_ELSEWHERE) {
            let deadline = Instant::now() + CATCH_UP;
            self.wait_stored(conversation.lane, seen.state_at, deadline).await?;
        }
        let Some(mut state) = self
            .store
            .state(&conversation.id)
            .await
            .map_err(|error| unavailable(&error))?
        else {
            if let Some(seen) = seen {
                tracing::error!(
                    position = seen.position,
                    "the state of a conversation is in neither log nor MongoDB"
                );
                return Err(Refusal::unavailable("the conversation cannot be read now"));
            }
            self.conversations.set_absent(&conversation.id);
            return Err(Refusal::no_conversation());
        };
        if let Some(seen) = seen {
            state.end_at(&seen);
        }
        self.conversations.weigh(conversation, state.members.len());
        Ok(state)
    }

    async fn last(&self, conversation: &Conversation) -> Result<Option<Record>, Refusal> {
        self.log
            .last(conversation.lane, &conversation.subject)
            .await
            .map_err(|error: LogError| unavailable(&error))
    }
}

fn count_load() {
    metrics::counter!("parley_conversation_loads_total").increment(1);
}

fn unreadable(conversation: &Conversation, error: &dyn std::fmt::Display) -> Refusal {
    metrics::counter!("parley_unreadable_total", "what" => "state").increment(1);
    tracing::error!(conversation = conversation.id.as_str(), %error, "the conversation's last change is unreadable");
    Refusal::unavailable("the conversation was last changed by a newer version of the server: try again")
}
