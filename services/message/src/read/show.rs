//! Conversations as their members see them, from their documents.
//!
//! A page costs a fixed number of queries whatever its length, but for the unread counts and the members of large
//! groups, which are bounded and asked for side by side.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt};
use protocol::http::{Conversation, Member};
use protocol::server_frame::MessageIncoming;
use protocol::{ConversationId, UserId, limits};

use super::view::View;
use crate::service::Service;
use crate::store::{ConversationDocument, MemberDocument, Standing, StoreError, time, unsigned};

/// Queries of one page under way at once.
const CONCURRENCY: usize = 16;

/// A conversation to be shown to one of its members.
#[derive(Debug)]
pub(super) struct Chosen {
    document: ConversationDocument,
    view: View,
}

impl Chosen {
    /// `None` where he is no member by what MongoDB knows: it may know more than whoever let him in.
    pub(super) fn of(document: ConversationDocument, own: &MemberDocument) -> Option<Self> {
        let view = View::of(&document, own)?;
        Some(Self { document, view })
    }
}

/// What a page is made of, by conversation.
#[derive(Default)]
struct Parts {
    members: HashMap<ConversationId, Vec<MemberDocument>>,
    last_messages: HashMap<ConversationId, MessageIncoming>,
    unread: HashMap<ConversationId, u32>,
}

/// A member as he is listed; `None` for somebody who is none.
pub(super) fn listed(it: MemberDocument) -> Option<Member> {
    let Standing::Present { role, .. } = it.standing() else {
        return None;
    };
    Some(Member {
        user_id: it.key.user_id,
        role,
        read_seq: unsigned(it.read),
        delivered_seq: unsigned(it.delivered),
    })
}

impl Service {
    /// Fills in what the documents do not hold.
    pub(super) async fn show(&self, user: &UserId, chosen: Vec<Chosen>) -> Result<Vec<Conversation>, StoreError> {
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
            .filter_map(|it| conversation(it, &mut parts))
            .collect())
    }

    async fn members_shown(
        &self,
        chosen: &[Chosen],
    ) -> Result<HashMap<ConversationId, Vec<MemberDocument>>, StoreError> {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        for Chosen { document, .. } in chosen {
            let ids = if document.size() <= limits::MEMBERS_LISTED {
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

    async fn last_messages(&self, chosen: &[Chosen]) -> Result<HashMap<ConversationId, MessageIncoming>, StoreError> {
        let keys: Vec<_> = chosen
            .iter()
            .filter_map(|it| Some((it.document.id.clone(), it.view.last(&it.document)?)))
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
        chosen: &[Chosen],
    ) -> Result<HashMap<ConversationId, u32>, StoreError> {
        let counted: Vec<_> = chosen
            .iter()
            .filter_map(|it| Some((it.document.id.clone(), it.view.unread_range(&it.document)?)))
            .collect();
        futures_util::stream::iter(counted)
            .map(|(id, (from, last))| async move {
                let count = self.unread_count(user, &id, from, last).await?;
                Ok((id, count))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }
}

/// The conversation from its parts; `None` where its creation is not projected, which the wait rules out.
fn conversation(chosen: Chosen, parts: &mut Parts) -> Option<Conversation> {
    let Chosen { document, view } = chosen;
    let size = document.size();
    let mut members = parts.members.remove(&document.id).unwrap_or_default();
    members.sort_by_key(MemberDocument::joined_at);
    Some(Conversation {
        conversation_type: document.conversation_type?,
        name: document.name().map(str::to_owned),
        history: document.history(),
        members: members
            .into_iter()
            .filter_map(listed)
            .take(limits::MEMBERS_LISTED)
            .collect(),
        member_count: (size > limits::MEMBERS_LISTED).then_some(size as u64),
        seq: document.head()?.seq,
        created_at: time(document.created_at?),
        last_message: parts.last_messages.remove(&document.id),
        read_seq: view.read_seq,
        unread: parts.unread.remove(&document.id).unwrap_or(0),
        conversation_id: document.id,
    })
}
