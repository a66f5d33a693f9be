//! Conversations as their members see them: one, or a page of the caller's.
//!
//! A page costs a fixed number of queries whatever its length, but for the unread counts and the members of large
//! groups, which are bounded and asked for side by side.

use std::collections::HashMap;

use bus::Lane;
use futures_util::{StreamExt, TryStreamExt};
use protocol::http::{Conversation, Conversations, Member};
use protocol::rpc::{ListConversations, ReadConversation};
use protocol::server_frame::MessageIncoming;
use protocol::{ConversationId, Refusal, UserId, limits};

use super::page::{Place, page};
use super::within;
use crate::conversation::load::Freshness;
use crate::service::{Service, unavailable};
use crate::store::{ConversationDocument, MemberDocument, StoreError, time, unsigned};

/// Queries of one page under way at once.
const CONCURRENCY: usize = 16;
/// Events looked through at once for an unread count, and how often: a user's own messages among them do not count,
/// and somebody who never reads what he writes into must not cost a scan of everything.
const UNREAD_WINDOW: u64 = 1_000;
const UNREAD_WINDOWS: u64 = 5;

/// What a page is made of, by conversation.
#[derive(Default)]
struct Parts {
    members: HashMap<ConversationId, Vec<MemberDocument>>,
    last_messages: HashMap<ConversationId, MessageIncoming>,
    unread: HashMap<ConversationId, u32>,
}

impl Service {
    /// Reads one conversation.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn conversation(&self, request: ReadConversation) -> Result<Conversation, Refusal> {
        within(async {
            let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
            let place = self.conversations.open(&id);
            self.state_for(&place, &request.user_id, Freshness::Fresh).await?;
            self.one_conversation(&request.user_id, &id).await
        })
        .await
    }

    /// A conversation of which `user` is known to be a member.
    pub(crate) async fn one_conversation(&self, user: &UserId, id: &ConversationId) -> Result<Conversation, Refusal> {
        let (lane, _) = self.log.place(id);
        tokio::try_join!(self.wait_for_lane(lane), self.wait_for_lane(Lane::Receipts))?;
        let stored = self.store.conversation(id).await.map_err(|error| unavailable(&error))?;
        let document = stored.ok_or_else(Refusal::no_conversation)?.document;
        let own = self.store.member(user, id).await.map_err(|error| unavailable(&error))?;
        let read_seq = own.map_or(0, |it| unsigned(it.read));
        let mut shown = self
            .show(user, vec![(document, read_seq)])
            .await
            .map_err(|error| unavailable(&error))?;
        shown.pop().ok_or_else(Refusal::no_conversation)
    }

    /// Lists the caller's conversations, most recently active first.
    ///
    /// # Errors
    /// `invalid` for a token that is none, `unavailable`.
    pub(crate) async fn conversations(&self, request: ListConversations) -> Result<Conversations, Refusal> {
        within(self.list(request)).await
    }

    async fn list(&self, request: ListConversations) -> Result<Conversations, Refusal> {
        let from = match &request.next {
            None => None,
            Some(token) => Some(Place::parse(token).ok_or_else(|| Refusal::invalid("`next` is not a token of ours"))?),
        };
        futures_util::future::try_join_all(self.log.lanes().map(|lane| self.wait_for_lane(lane))).await?;
        let user = &request.user_id;
        let memberships = self
            .store
            .memberships(user)
            .await
            .map_err(|error| unavailable(&error))?;
        let read: HashMap<ConversationId, u64> = memberships
            .into_iter()
            .map(|it| (it.key.conversation_id, unsigned(it.read)))
            .collect();
        let ids: Vec<ConversationId> = read.keys().cloned().collect();
        let documents = self
            .store
            .conversations(&ids)
            .await
            .map_err(|error| unavailable(&error))?;
        let mut documents: HashMap<ConversationId, ConversationDocument> =
            documents.into_iter().map(|it| (it.id.clone(), it)).collect();
        let place = |it: &ConversationDocument| {
            Some(Place {
                at: time(it.head.as_ref()?.at),
                id: it.id.clone(),
            })
        };
        let places = documents.values().filter_map(place).collect();
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).max(1);
        let (places, next) = page(places, from.as_ref(), limit);
        let chosen = places.iter().filter_map(|it| {
            let document = documents.remove(&it.id)?;
            Some((document, read.get(&it.id).copied().unwrap_or(0)))
        });
        let chosen = chosen.collect();
        let conversations = self.show(user, chosen).await.map_err(|error| unavailable(&error))?;
        Ok(Conversations {
            conversations,
            next: next.map(|it| it.token()),
        })
    }

    /// Fills in what the documents do not hold. `chosen`: each with the user's read watermark.
    async fn show(
        &self,
        user: &UserId,
        chosen: Vec<(ConversationDocument, u64)>,
    ) -> Result<Vec<Conversation>, StoreError> {
        let (members, last_messages, unread) = tokio::try_join!(
            self.members_shown(&chosen),
            self.last_messages(&chosen),
            self.unread_counts(user, &chosen),
        )?;
        let mut parts = Parts {
            members,
            last_messages,
            unread,
        };
        Ok(chosen
            .into_iter()
            .filter_map(|(document, read_seq)| conversation(document, read_seq, &mut parts))
            .collect())
    }

    async fn members_shown(
        &self,
        chosen: &[(ConversationDocument, u64)],
    ) -> Result<HashMap<ConversationId, Vec<MemberDocument>>, StoreError> {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for (document, _) in chosen {
            let ids = if size(document) <= limits::MEMBERS_LISTED {
                &mut small
            } else {
                &mut large
            };
            ids.push(document.id.clone());
        }
        let mut all = self.store.members_of(&small).await?;
        let large = futures_util::stream::iter(large)
            .map(|id| async move { self.store.first_members(&id, limits::MEMBERS_LISTED).await })
            .buffer_unordered(CONCURRENCY)
            .try_concat();
        all.extend(large.await?);
        let mut members: HashMap<ConversationId, Vec<MemberDocument>> = HashMap::new();
        for member in all {
            members
                .entry(member.key.conversation_id.clone())
                .or_default()
                .push(member);
        }
        Ok(members)
    }

    async fn last_messages(
        &self,
        chosen: &[(ConversationDocument, u64)],
    ) -> Result<HashMap<ConversationId, MessageIncoming>, StoreError> {
        let keys: Vec<_> = chosen
            .iter()
            .filter_map(|(it, _)| Some((it.id.clone(), unsigned(it.last?))))
            .collect();
        let messages = self.store.messages(&keys).await?;
        Ok(messages
            .into_iter()
            .map(|it| (it.conversation_id.clone(), it))
            .collect())
    }

    async fn unread_counts(
        &self,
        user: &UserId,
        chosen: &[(ConversationDocument, u64)],
    ) -> Result<HashMap<ConversationId, u32>, StoreError> {
        let mut counted = Vec::new();
        for (document, read_seq) in chosen {
            let last = document.last.map_or(0, unsigned);
            if last > *read_seq {
                counted.push((document.id.clone(), *read_seq, last));
            }
        }
        futures_util::stream::iter(counted)
            .map(|(id, read_seq, last)| async move {
                let count = self.unread_count(user, &id, read_seq, last).await?;
                Ok((id, count))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    async fn unread_count(
        &self,
        user: &UserId,
        id: &ConversationId,
        read_seq: u64,
        last: u64,
    ) -> Result<u32, StoreError> {
        let mut count = 0;
        let mut from = read_seq + 1;
        for _ in 0..UNREAD_WINDOWS {
            let to = last.min(from + UNREAD_WINDOW - 1);
            let found = self
                .store
                .unread(id, user, from, to, i64::from(limits::UNREAD_MOST - count))
                .await?;
            count += u32::try_from(found).unwrap_or(u32::MAX);
            from = to + 1;
            if count >= limits::UNREAD_MOST || from > last {
                break;
            }
        }
        Ok(count)
    }
}

fn size(document: &ConversationDocument) -> usize {
    document
        .state
        .as_ref()
        .map_or(0, |it| usize::try_from(it.size).unwrap_or(0))
}

/// The conversation from its parts; `None` where its creation is not projected, which the wait rules out.
fn conversation(document: ConversationDocument, read_seq: u64, parts: &mut Parts) -> Option<Conversation> {
    let size = size(&document);
    let mut members = parts.members.remove(&document.id).unwrap_or_default();
    members.retain(|it| it.membership.is_some());
    members.sort_by_key(|it| it.membership.as_ref().map(|it| (it.since, it.n)));
    let member = |it: MemberDocument| {
        let role = it.membership?.role;
        Some(Member {
            user_id: it.key.user_id,
            role,
            read_seq: unsigned(it.read),
            delivered_seq: unsigned(it.delivered),
        })
    };
    Some(Conversation {
        conversation_type: document.conversation_type?,
        name: document.state?.name,
        members: members
            .into_iter()
            .take(limits::MEMBERS_LISTED)
            .filter_map(member)
            .collect(),
        member_count: (size > limits::MEMBERS_LISTED).then_some(size as u64),
        seq: unsigned(document.head?.seq),
        created_at: time(document.created_at?),
        last_message: parts.last_messages.remove(&document.id),
        read_seq,
        unread: parts.unread.remove(&document.id).unwrap_or(0),
        conversation_id: document.id,
    })
}
