//! Fetching what [`State`] needs: the end of the log, the entry that holds the members, or MongoDB where the log no
//! longer has them.

use std::sync::Arc;

use bus::{LogError, Record};
use protocol::{Refusal, UserId};

use super::state::{Follow, STATE_ELSEWHERE};
use super::{Conversation, Head, State};
use crate::event::{Event, Seen};
use crate::service::{Service, unavailable};

/// How a conversation was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// What is known here will do.
    Cached,
    /// As of an entry that was the last one after the request began.
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
        let mut fresh = false;
        let mut state = match slot.take() {
            Some(state) => state,
            None => {
                fresh = true;
                self.load(conversation).await?
            }
        };
        let suffices = state.members.contains(user) && freshness == Freshness::Cached;
        if !fresh && !suffices {
            state = self.refresh(conversation, state).await?;
        }
        *slot = Some(state.clone());
        if state.members.contains(user) {
            Ok(state)
        } else {
            Err(Refusal::no_conversation())
        }
    }

    /// Brings a state up to the conversation's last entry.
    pub(crate) async fn refresh(&self, conversation: &Arc<Conversation>, mut state: State) -> Result<State, Refusal> {
        let last = self.last(conversation).await?;
        let seen = last
            .as_ref()
            .map(Seen::of)
            .transpose()
            .map_err(|error| unreadable(conversation, &error))?;
        match state.follow(seen.as_ref()) {
            Follow::Current => Ok(state),
            Follow::Reload => self.load_from(conversation, last).await,
            Follow::Emptied => {
                let stored = self
                    .store
                    .conversation(&conversation.id)
                    .await
                    .map_err(|error| unavailable(&error))?;
                let (seq, at) = stored.map_or((0, state.head.timestamp), |it| (it.head.seq, it.head.timestamp));
                state.emptied(seq, at);
                Ok(state)
            }
        }
    }

    /// Loads a state from nothing.
    pub(crate) async fn load(&self, conversation: &Arc<Conversation>) -> Result<State, Refusal> {
        metrics::counter!("parley_conversation_loads_total").increment(1);
        let last = self.last(conversation).await?;
        self.load_from(conversation, last).await
    }

    async fn load_from(&self, conversation: &Arc<Conversation>, last: Option<Record>) -> Result<State, Refusal> {
        let Some(last) = last else {
            return self.load_stored(conversation, None).await;
        };
        let seen = Seen::of(&last).map_err(|error| unreadable(conversation, &error))?;
        let entry = if seen.state_at == last.position {
            Some(last)
        } else if seen.state_at == STATE_ELSEWHERE {
            None
        } else {
            let entry = self
                .log
                .at(conversation.lane, seen.state_at)
                .await
                .map_err(|error| unavailable(&error))?;
            // In a stream that was made anew the position may be another conversation's entry.
            entry.filter(|it| it.subject == conversation.subject)
        };
        let Some(Event::Created(created)) = entry.as_ref().and_then(|it| Event::decode(&it.payload).ok()) else {
            return self.load_stored(conversation, Some(seen)).await;
        };
        let mut state = State::created(&created, seen.state_at);
        if seen.position != seen.state_at {
            state.advance(head_of(&seen), seen.is_message);
        }
        self.conversations.weigh(conversation, state.members.len());
        Ok(state)
    }

    /// Members from MongoDB: their entry has aged out of the stream. MongoDB is complete in what has.
    async fn load_stored(&self, conversation: &Arc<Conversation>, seen: Option<Seen>) -> Result<State, Refusal> {
        if seen.is_none() && self.conversations.is_absent(&conversation.id) {
            return Err(Refusal::no_conversation());
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
            let head = head_of(&seen);
            state.advance(
                Head {
                    seq: head.seq.max(state.head.seq),
                    ..head
                },
                seen.is_message,
            );
            state.state_at = seen.state_at;
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

fn head_of(seen: &Seen) -> Head {
    Head {
        seq: seen.seq,
        position: seen.position,
        timestamp: seen.timestamp,
    }
}

fn unreadable(conversation: &Conversation, error: &dyn std::fmt::Display) -> Refusal {
    metrics::counter!("parley_unreadable_total", "what" => "head").increment(1);
    tracing::error!(conversation = conversation.id.as_str(), %error, "the conversation's last entry is unreadable");
    Refusal::unavailable("the conversation was last changed by a newer version of the server: try again")
}
