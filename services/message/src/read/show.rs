//! Conversations as their members see them, from their documents.
//!
//! A page costs a fixed number of queries whatever its length, but for the unread counts and the members of large
//! groups, which are bounded and asked for side by side.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt};
use protocol::http::{Conversation, HistoryAccess, Member};
use protocol::server_frame::MessageIncoming;
use protocol::{ConversationId, UserId, limits};

use crate::service::Service;
use crate::store::{ConversationDocument, MemberDocument, Standing, StoreError, time, unsigned};

/// Queries of one page under way at once.
const CONCURRENCY: usize = 16;
/// Events looked through at once for an unread count, and how often: a user's own messages among them do not count,
/// and somebody who never reads what he writes into must not cost a scan of everything.
const UNREAD_WINDOW: u64 = 1_000;
const UNREAD_WINDOWS: u64 = 5;

/// A conversation to be shown to one of its members.
#[derive(Debug)]
pub(super) struct Chosen {
    document: ConversationDocument,
    /// His read watermark.
    read_seq: u64,
    /// The first `seq` that he sees.
    visible_from: u64,
}

impl Chosen {
    /// `None` where he is no member by what MongoDB knows: it may know more than whoever let him in.
    pub(super) fn of(document: ConversationDocument, own: &MemberDocument) -> Option<Self> {
        let Standing::Present { since, .. } = own.standing() else {
            return None;
        };
        let visible_from = match document.history() {
            HistoryAccess::All => 0,
            HistoryAccess::Joined => since,
        };
        Some(Self {
            document,
            read_seq: unsigned(own.read),
            visible_from,
        })
    }

    /// `seq` of the last message that he sees.
    fn last(&self) -> Option<u64> {
        self.document.last.map(unsigned).filter(|it| *it >= self.visible_from)
    }

    /// The `seq`s, inclusive, between which there may be messages that he has not read.
    fn unread_range(&self) -> Option<(u64, u64)> {
        let from = (self.read_seq + 1).max(self.visible_from);
        self.last().filter(|last| *last >= from).map(|last| (from, last))
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
            .filter_map(|it| Some((it.document.id.clone(), it.last()?)))
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
            .filter_map(|it| Some((it.document.id.clone(), it.unread_range()?)))
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

    /// How many messages of others there are from `from` up to `last`, at most [`limits::UNREAD_MOST`]; not looked for
    /// beyond some thousands of events.
    pub(crate) async fn unread_count(
        &self,
        user: &UserId,
        id: &ConversationId,
        mut from: u64,
        last: u64,
    ) -> Result<u32, StoreError> {
        let mut count = 0;
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

/// The conversation from its parts; `None` where its creation is not projected, which the wait rules out.
fn conversation(chosen: Chosen, parts: &mut Parts) -> Option<Conversation> {
    let document = chosen.document;
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
        read_seq: chosen.read_seq,
        unread: parts.unread.remove(&document.id).unwrap_or(0),
        conversation_id: document.id,
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{deserialize_from_document, doc};

    use super::*;

    /// A group of ten messages, and a member who joined with the event 5 and has read up to `read`.
    fn chosen(history: &str, read: i64) -> Chosen {
        let id = "g00000000000000000000000000000000";
        let document = doc! { "_id": id, "state": { "size": 2_i64, "history": history }, "last": 10_i64 };
        let own = doc! {
            "_id": { "u": "ann", "c": id },
            "m": { "seq": 5_i64, "role": "member", "since": 5_i64, "n": 0_i64 },
            "read": read,
        };
        let (document, own) = (deserialize_from_document(document), deserialize_from_document(own));
        Chosen::of(document.unwrap(), &own.unwrap()).unwrap()
    }

    #[test]
    fn what_lies_before_his_time_is_unread_only_where_he_sees_it() {
        assert_eq!(chosen("all", 0).unread_range(), Some((1, 10)));
        assert_eq!(chosen("joined", 0).unread_range(), Some((5, 10)));
        assert_eq!(chosen("joined", 7).unread_range(), Some((8, 10)));
        assert_eq!(chosen("joined", 10).unread_range(), None);
    }

    #[test]
    fn a_last_message_before_his_time_is_not_shown() {
        let mut later = chosen("joined", 0);
        later.visible_from = 11;
        assert_eq!((later.last(), later.unread_range()), (None, None));
        assert_eq!(chosen("joined", 0).last(), Some(10));
    }
}
