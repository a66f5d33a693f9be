//! The reads, typed.

use mongodb::bson::doc;
use protocol::server_frame::MessageIncoming;
use protocol::{ClientId, ConversationId, Timestamp, UserId, limits};

use super::conversation::{HeadOnly, state_of};
use super::documents::{BriefDocument, EventDocument, KeyOnly, SenderDocument, SentDocument, time, unsigned};
use super::queries::MemberPage;
use super::{ConversationDocument, MemberDocument, Store, StoreError, queries};
use crate::conversation::State;
use crate::event::MESSAGE;

/// Stray documents of one conversation that are listed.
const ABOVE_MOST: i64 = 100;

impl Store {
    /// A conversation's document, if it has a head.
    pub(crate) async fn conversation(&self, id: &ConversationId) -> Result<Option<ConversationDocument>, StoreError> {
        let found = self.find::<ConversationDocument>(queries::conversation(id)).await?;
        Ok(found.into_iter().next().filter(|it| it.head().is_some()))
    }

    /// A conversation's state as far as it is projected.
    pub(crate) async fn state(&self, id: &ConversationId) -> Result<Option<State>, StoreError> {
        let document = self.conversation(id).await?;
        let Some(document) = document.filter(ConversationDocument::is_created) else {
            return Ok(None);
        };
        let most = i64::try_from(limits::MEMBERS).unwrap_or(i64::MAX);
        let members = self.find::<MemberDocument>(queries::members(id, most)).await?;
        Ok(state_of(&document, members))
    }

    /// When each of many conversations had its last event, in no order.
    pub(crate) async fn heads(&self, ids: &[ConversationId]) -> Result<Vec<HeadOnly>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::heads(ids)).await
    }

    /// Conversations' documents, in no order.
    pub(crate) async fn conversations(&self, ids: &[ConversationId]) -> Result<Vec<ConversationDocument>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::conversations(ids)).await
    }

    /// Conversations' documents, in no order: no more of each than what tells which of its messages a member has not
    /// read.
    pub(crate) async fn ends(&self, ids: &[ConversationId]) -> Result<Vec<ConversationDocument>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::ends(ids)).await
    }

    /// A user's present memberships, in no order.
    pub(crate) async fn memberships(&self, user: &UserId) -> Result<Vec<MemberDocument>, StoreError> {
        self.find(queries::memberships(user)).await
    }

    /// The present memberships of many users, in no order: no more of each than whether and up to where he has read.
    pub(crate) async fn memberships_of(&self, users: &[UserId]) -> Result<Vec<MemberDocument>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::memberships_of(users)).await
    }

    /// Memberships of all users, by key, after one of them.
    pub(crate) async fn all_members(
        &self,
        after: Option<(UserId, ConversationId)>,
        limit: i64,
    ) -> Result<Vec<MemberDocument>, StoreError> {
        self.find(queries::all_members(after.as_ref(), limit)).await
    }

    /// One membership with its watermarks.
    pub(crate) async fn member(
        &self,
        user: &UserId,
        id: &ConversationId,
    ) -> Result<Option<MemberDocument>, StoreError> {
        Ok(self
            .find::<MemberDocument>(queries::member(user, id))
            .await?
            .into_iter()
            .next())
    }

    /// All members of small conversations, in no order.
    pub(crate) async fn members_of(&self, ids: &[ConversationId]) -> Result<Vec<MemberDocument>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::members_of(ids)).await
    }

    /// The longest-standing members of a conversation.
    pub(crate) async fn first_members(
        &self,
        id: &ConversationId,
        limit: usize,
    ) -> Result<Vec<MemberDocument>, StoreError> {
        self.find(queries::members(id, i64::try_from(limit).unwrap_or(i64::MAX)))
            .await
    }

    /// A page of a conversation's members, in the order in which they joined.
    pub(crate) async fn member_page(
        &self,
        id: &ConversationId,
        page: &MemberPage,
        limit: usize,
    ) -> Result<Vec<MemberDocument>, StoreError> {
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        for query in queries::member_page(id, page, most) {
            found.extend(self.find::<MemberDocument>(query).await?);
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Whether the event at `seq` is a message; `None` where it is not stored.
    pub(crate) async fn is_message(&self, id: &ConversationId, seq: u64) -> Result<Option<bool>, StoreError> {
        let found = self.find::<EventDocument>(queries::event(id, seq)).await?;
        Ok(found.first().map(|it| it.event_type == MESSAGE))
    }

    /// `seq` and time of what a sender's client sent under an id.
    pub(crate) async fn sent(
        &self,
        id: &ConversationId,
        sender: &UserId,
        client_id: &ClientId,
    ) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let mut query = queries::sent(id, sender, client_id);
        // A primary that was deposed and does not know yet would say that there is nothing, and the message would be sent twice.
        query.insert("readConcern", doc! { "level": "linearizable" });
        let found = self.find::<SentDocument>(query).await?;
        Ok(found.first().map(|it| (unsigned(it.key.seq), time(it.at))))
    }

    /// Messages of a conversation within exclusive bounds, in the order asked for.
    pub(crate) async fn history(
        &self,
        id: &ConversationId,
        after: u64,
        before: u64,
        oldest_first: bool,
        limit: i64,
    ) -> Result<Vec<MessageIncoming>, StoreError> {
        let found = self
            .find::<EventDocument>(queries::history(id, after, before, oldest_first, limit))
            .await?;
        found.into_iter().map(readable).collect()
    }

    /// The messages under some keys, in no order.
    pub(crate) async fn messages(&self, keys: &[(ConversationId, u64)]) -> Result<Vec<MessageIncoming>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let query = queries::events(keys.iter().map(|(id, seq)| (id, *seq)));
        self.find::<EventDocument>(query)
            .await?
            .into_iter()
            .map(readable)
            .collect()
    }

    /// How many messages of others there are within inclusive bounds, at most `limit`.
    pub(crate) async fn unread(
        &self,
        id: &ConversationId,
        user: &UserId,
        from: u64,
        to: u64,
        limit: i64,
    ) -> Result<usize, StoreError> {
        Ok(self
            .find::<KeyOnly>(queries::unread(id, user, from, to, limit))
            .await?
            .len())
    }

    /// `seq` and sender of the last messages within inclusive bounds, newest first.
    pub(crate) async fn recent(
        &self,
        id: &ConversationId,
        from: u64,
        to: u64,
        limit: i64,
    ) -> Result<Vec<(u64, UserId)>, StoreError> {
        let found = self.find::<BriefDocument>(queries::recent(id, from, to, limit)).await?;
        Ok(found.into_iter().map(|it| (unsigned(it.key.seq), it.sender)).collect())
    }

    /// How many messages there are, at most `limit`.
    pub(crate) async fn messages_count(&self, id: &ConversationId, limit: i64) -> Result<usize, StoreError> {
        Ok(self.find::<KeyOnly>(queries::last_keys(id, limit)).await?.len())
    }

    /// Who sent the last messages within exclusive bounds, newest first; one entry a message.
    pub(crate) async fn senders(
        &self,
        id: &ConversationId,
        after: u64,
        before: u64,
        limit: i64,
    ) -> Result<Vec<UserId>, StoreError> {
        let found = self.find::<SenderDocument>(queries::senders(id, after, before, limit));
        Ok(found.await?.into_iter().map(|it| it.sender).collect())
    }

    /// The documents under some keys, in no order.
    pub(crate) async fn events(&self, keys: &[(ConversationId, u64)]) -> Result<Vec<EventDocument>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::events(keys.iter().map(|(id, seq)| (id, *seq))))
            .await
    }

    /// The first `seq`s that are stored above one.
    pub(crate) async fn events_above(&self, id: &ConversationId, seq: u64) -> Result<Vec<u64>, StoreError> {
        let found = self.find::<KeyOnly>(queries::events_above(id, seq, ABOVE_MOST)).await?;
        Ok(found.iter().map(|it| unsigned(it.key.seq)).collect())
    }

    /// The memberships under some keys, in no order.
    pub(crate) async fn members_at(
        &self,
        keys: &[(UserId, ConversationId)],
    ) -> Result<Vec<MemberDocument>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.find(queries::members_at(keys)).await
    }
}

fn readable(document: EventDocument) -> Result<MessageIncoming, StoreError> {
    let seq = document.key.seq;
    document
        .into_message()
        .ok_or_else(|| StoreError::Unreadable(format!("the message with seq {seq}")))
}
