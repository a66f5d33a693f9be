//! What each change of a conversation left behind: its settings, its members, present and gone, and the directory.
//!
//! Each is compared by itself: what it told is stored, or something newer is.

use std::collections::HashMap;

use bus::directory;
use futures_util::{StreamExt, TryStreamExt};
use protocol::UserId;

use super::Run;
use crate::effect::Effect;
use crate::event::Event;
use crate::memberships::store_events;
use crate::store::{ConversationDocument, Fact, MemberDocument, Standing};

/// Members read at once.
const CHUNK: usize = 1_000;
const CONCURRENCY: usize = 32;

impl Run<'_> {
    /// Compares what an event that changes a conversation came to; any other is left alone.
    pub(super) async fn compare_change(&mut self, event: &Event) -> anyhow::Result<()> {
        if matches!(event, Event::Message(_) | Event::Receipt(..) | Event::Newer(_)) {
            return Ok(());
        }
        let id = event.conversation_id();
        let place = format!("conversation {} seq {}", id.as_str(), event.seq());
        let stored = self.store.conversations(std::slice::from_ref(id)).await?;
        let stale = stored.first().map_or_else(Vec::new, |it| wrong_facts(it, event));
        if stored.is_empty() || !stale.is_empty() {
            self.problem(format!("settings: MongoDB does not have those of {place}"));
            for fact in stale.into_iter().filter(|_| self.repair) {
                self.store.forget_fact(id, fact, event.seq()).await?;
            }
            self.repair(event).await?;
        }
        let effects = event.effects();
        let mut wrong = Vec::new();
        for chunk in effects.chunks(CHUNK) {
            let keys: Vec<_> = chunk.iter().map(|it| (it.user().clone(), id.clone())).collect();
            let stored = self.store.members_at(&keys).await?;
            let stored: HashMap<UserId, MemberDocument> =
                stored.into_iter().map(|it| (it.key.user_id.clone(), it)).collect();
            let differing = chunk
                .iter()
                .filter(|it| !is_stored(stored.get(it.user()), **it, event.seq()));
            wrong.extend(differing.copied());
        }
        if !wrong.is_empty() {
            self.problem(format!("members: {} of {place} differ in MongoDB", wrong.len()));
            for effect in wrong.into_iter().filter(|_| self.repair) {
                self.store.forget_membership(effect.user(), id, event.seq()).await?;
            }
            self.repair(event).await?;
        }
        self.compare_directory(event, &effects, &place).await
    }

    async fn compare_directory(&mut self, event: &Event, effects: &[Effect<'_>], place: &str) -> anyhow::Result<()> {
        let users = effects.iter().filter(|it| !matches!(it, Effect::Role { .. }));
        let users: Vec<UserId> = users.map(|it| it.user().clone()).collect();
        let (bus, id, seq) = (self.log.bus().clone(), event.conversation_id().clone(), event.seq());
        let missing = futures_util::stream::iter(users)
            .map(|user| {
                let (bus, id) = (bus.clone(), id.clone());
                async move {
                    let found = directory::find(&bus, &user, &id).await?;
                    anyhow::Ok(usize::from(found.is_none_or(|it| it.known() < seq)))
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_fold(0, |sum, missing| std::future::ready(Ok(sum + missing)))
            .await?;
        if missing == 0 {
            return Ok(());
        }
        self.problem(format!("directory: {missing} members of {place} are missing"));
        if self.repair {
            store_events(&self.log, std::slice::from_ref(event)).await?;
            self.outcome.repaired += 1;
        }
        Ok(())
    }
}

/// Which facts of a conversation's document are older than the event that told them, or are not what it told.
fn wrong_facts(document: &ConversationDocument, event: &Event) -> Vec<Fact> {
    let seq = event.seq();
    let (named, shows, sized) = document.changed_at();
    let wrong = |at: u64, same: bool| at < seq || (at == seq && !same);
    let mut facts = Vec::new();
    match event {
        Event::Message(_) | Event::Receipt(..) | Event::Newer(_) => {}
        Event::Created(it) => {
            let told = document.conversation_type == Some(it.conversation_type)
                && (named > 0 || document.name() == it.name.as_deref())
                && (shows > 0 || document.history() == it.history)
                && (sized > 0 || document.size() == it.members.len());
            if !document.is_created() || !told {
                facts.push(Fact::Creation);
            }
        }
        Event::Updated(it) => {
            if it.name.is_some() && wrong(named, document.name() == it.name.as_deref()) {
                facts.push(Fact::Name);
            }
            if it.history.is_some() && wrong(shows, Some(document.history()) == it.history) {
                facts.push(Fact::History);
            }
        }
        Event::Added(_, size) | Event::Removed(_, size) => {
            if wrong(sized, document.size() as u64 == *size) {
                facts.push(Fact::Size);
            }
        }
    }
    facts
}

/// Whether a member's document knows an effect, or a newer one.
fn is_stored(document: Option<&MemberDocument>, effect: Effect<'_>, seq: u64) -> bool {
    let Some(document) = document else { return false };
    let (changed, given) = document.changed_at();
    match effect {
        Effect::Joined { role, place, .. } => {
            let same = match document.standing() {
                Standing::Present {
                    role: stored,
                    since,
                    place: at,
                } => since == seq && at == place as u64 && (stored == role || given > seq),
                Standing::Gone { .. } | Standing::Unknown => false,
            };
            changed > seq || (changed == seq && same)
        }
        Effect::Left { .. } => changed > seq || (changed == seq && !document.is_present()),
        Effect::Role { role, .. } => {
            let same = match document.standing() {
                Standing::Present { role: stored, .. } => stored == role || changed > seq,
                Standing::Gone { .. } | Standing::Unknown => true,
            };
            given > seq || (given == seq && same)
        }
    }
}
