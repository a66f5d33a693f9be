//! Changing a conversation: rules, one append to the log, the directory, then the answer.
//!
//! The append is a compare-and-set on the conversation's last entry, as of a message: what slips in between rule and
//! append makes it fail, and the rules are asked again.

mod entry;
mod rules;
#[cfg(test)]
mod rules_tests;
mod welcome;

use std::sync::Arc;
use std::time::Duration;

use bus::LogError;
use bus::directory::Membership;
pub(crate) use entry::too_large;
use protocol::http::Conversation as Shown;
use protocol::rpc::{Change, ChangeConversation};
use protocol::{ConversationId, Refusal, Timestamp, UserId};
pub(crate) use rules::Decision;
#[cfg(test)]
pub(crate) use rules::decide;
use welcome::Welcome;

use crate::conversation::load::Freshness;
use crate::conversation::{Conversation, State};
use crate::event::Event;
use crate::memberships::{changed, present, store_all};
use crate::service::{Service, unavailable};

/// Time for everything; 10,000 new members take about a second.
const DEADLINE: Duration = Duration::from_secs(4);
/// Conflicts after which a change is written in a hurry: in a conversation in which hundreds of messages are sent a second
/// a large entry would come too late again and again.
const CONFLICTS_UNHURRIED: u32 = 2;

/// What a change came to: the state after it, and the directory's entries to write before the answer.
struct Done {
    state: State,
    memberships: Vec<(UserId, Membership)>,
}

impl Service {
    /// Changes a conversation: answers with it as the caller sees it afterwards, or with nothing after a removal.
    ///
    /// # Errors
    /// The refusal to show; after `unavailable` the outcome is unknown, and the same change may be asked for again.
    pub(crate) async fn change(&self, request: ChangeConversation, now: Timestamp) -> Result<Option<Shown>, Refusal> {
        let done = tokio::time::timeout(DEADLINE, self.change_within(request, now)).await;
        let done = done.unwrap_or_else(|_| Err(Refusal::unavailable("no answer in time: repeat the same request")));
        let outcome = done.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| "ok");
        metrics::counter!("parley_changes_total", "outcome" => outcome).increment(1);
        done
    }

    async fn change_within(&self, request: ChangeConversation, now: Timestamp) -> Result<Option<Shown>, Refusal> {
        let caller = request.user_id;
        let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let change = rules::draft(request.change)?;
        let conversation = self.conversations.open(&id);
        // Before the conversation's lock is taken for the change: messages do not wait for MongoDB.
        let welcome = match &change {
            Change::Add(_) => {
                // What is cached may be old: who has been removed since is to be welcomed again.
                let state = self.state_for(&conversation, &caller, Freshness::Fresh).await?;
                match rules::decide(&state, &caller, &change, now) {
                    Decision::Append(Event::Added(it, _)) => self.welcome(&conversation, &state, &it.user_ids).await,
                    Decision::Append(_) | Decision::Nothing | Decision::Refuse(_) => Welcome::default(),
                }
            }
            Change::Update(_) | Change::Remove(_) | Change::SetRole(..) => Welcome::default(),
        };
        let done = self.apply(&conversation, &caller, &change, &welcome, now).await?;
        let stored = store_all(&self.log, done.memberships).await;
        stored.map_err(|error| unavailable(&error))?;
        // A removal is answered without the conversation, which would be waited for in vain.
        if matches!(change, Change::Remove(_)) || !done.state.members.contains(&caller) {
            return Ok(None);
        }
        let shown = self.conversation_after(&caller, &conversation, &done.state).await?;
        Ok(Some(shown))
    }

    /// Decides and appends, again and again while others are first.
    async fn apply(
        &self,
        conversation: &Arc<Conversation>,
        caller: &UserId,
        change: &Change,
        welcome: &Welcome,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        let mut slot = conversation.state.lock().await;
        let (mut state, mut freshness) = (self.known(conversation, &mut slot).await?, Freshness::Cached);
        let mut conflicts = 0;
        loop {
            let event = match rules::decide(&state, caller, change, now) {
                Decision::Append(event) => event,
                // What is known here may be old.
                Decision::Refuse(_) | Decision::Nothing if freshness == Freshness::Cached => {
                    state = self.refresh(conversation, &mut slot).await?;
                    freshness = Freshness::Fresh;
                    continue;
                }
                Decision::Refuse(refusal) => return Err(refusal),
                Decision::Nothing => return Ok(repeated(state, change)),
            };
            *slot = None;
            let hurry = conflicts > CONFLICTS_UNHURRIED;
            match self.append_change(conversation, &state, event, welcome, hurry).await {
                Ok(done) => {
                    *slot = Some(done.state.clone());
                    return Ok(done);
                }
                Err(Failed::Refused(refusal)) => {
                    *slot = Some(state);
                    return Err(refusal);
                }
                Err(Failed::Log(LogError::Conflict)) => {
                    conflicts += 1;
                    *slot = Some(state);
                    // Without the pause that messages make: there are many of them, and few changes.
                    state = self.after_conflict(conversation, &mut slot, 1).await?;
                    freshness = Freshness::Cached;
                }
                Err(Failed::Log(error @ LogError::Refused(_))) => {
                    *slot = Some(state);
                    return Err(unavailable(&error));
                }
                // Unknown whether it was written: the slot stays empty, and the next one reads the log's end.
                Err(Failed::Log(error)) => return Err(unavailable(&error)),
            }
        }
    }

    async fn append_change(
        &self,
        conversation: &Arc<Conversation>,
        before: &State,
        event: Event,
        welcome: &Welcome,
        hurry: bool,
    ) -> Result<Done, Failed> {
        let memberships = changed(before, &event);
        let mut state = before.clone();
        // In a hurry what takes long for thousands of members is left for after the append, if the entry can do without.
        let later = hurry && !before.wants_snapshot(hurry) && !matches!(event, Event::Added(..));
        let later = later.then(|| event.clone());
        if later.is_none() {
            state.apply(&event);
        }
        let welcome = match &event {
            Event::Added(it, _) => Some(welcome.conversation(&state, &it.user_ids)),
            _ => None,
        };
        let bytes_most = self.log.bus().payload_bytes_most();
        let made = entry::entry(event, before.last_change(), &state, welcome.as_ref(), bytes_most, hurry);
        let entry = made.map_err(Failed::Refused)?;
        let appended = self
            .log
            .append(conversation.subject.clone(), None, before.head.position, entry.payload)
            .await
            .map_err(Failed::Log)?;
        if let Some(event) = later {
            state.apply(&event);
        }
        state.stand_at(appended.position, entry.whole);
        self.conversations.weigh(conversation, state.members.len());
        Ok(Done { state, memberships })
    }
}

/// Why an append came to nothing.
enum Failed {
    Refused(Refusal),
    Log(LogError),
}

/// What a change comes to that was there already. New members may be a repetition: a replica may have been killed
/// between entry and directory.
fn repeated(state: State, change: &Change) -> Done {
    let named = match change {
        Change::Add(users) => users.as_slice(),
        Change::Update(_) | Change::Remove(_) | Change::SetRole(..) => &[],
    };
    let memberships = present(&state, named.iter().filter_map(|it| state.members.get(it)));
    Done { state, memberships }
}
