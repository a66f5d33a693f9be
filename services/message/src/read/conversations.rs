//! Reading one conversation, or a page of the caller's.

use std::collections::HashMap;

use bus::Lane;
use protocol::http::{Conversation, Conversations};
use protocol::rpc::{ListConversations, ReadConversation};
use protocol::{ConversationId, Refusal, UserId};

use super::page::{Place, page};
use super::show::Chosen;
use super::{fitting, within};
use crate::conversation::load::Freshness;
use crate::service::{Service, unavailable};
use crate::store::{ConversationDocument, MemberDocument, time};

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
        let read = async { tokio::try_join!(self.store.conversation(id), self.store.member(user, id)) };
        let (stored, own) = read.await.map_err(|error| unavailable(&error))?;
        let (stored, own) = stored.zip(own).ok_or_else(Refusal::no_conversation)?;
        let chosen = Chosen::of(stored, &own).ok_or_else(Refusal::no_conversation)?;
        let shown = self.show(user, vec![chosen]).await;
        let mut shown = shown.map_err(|error| unavailable(&error))?;
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
        let memberships = self.store.memberships(user).await;
        let memberships = memberships.map_err(|error| unavailable(&error))?;
        let own: HashMap<ConversationId, MemberDocument> = memberships
            .into_iter()
            .map(|it| (it.key.conversation_id.clone(), it))
            .collect();
        let ids: Vec<ConversationId> = own.keys().cloned().collect();
        // All are ordered by their times alone; only those of the page are read.
        let heads = self.store.heads(&ids).await.map_err(|error| unavailable(&error))?;
        let place = |it: crate::store::HeadOnly| {
            Some(Place {
                at: time(it.head?.at),
                id: it.id,
            })
        };
        let places = heads.into_iter().filter_map(place).collect();
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).max(1);
        let (places, next) = page(places, from.as_ref(), limit);
        let ids: Vec<ConversationId> = places.iter().map(|it| it.id.clone()).collect();
        let documents = self.store.conversations(&ids).await;
        let documents = documents.map_err(|error| unavailable(&error))?;
        let mut documents: HashMap<ConversationId, ConversationDocument> =
            documents.into_iter().map(|it| (it.id.clone(), it)).collect();
        let chosen = ids
            .iter()
            .filter_map(|id| Chosen::of(documents.remove(id)?, own.get(id)?));
        let chosen = chosen.collect();
        let shown = self.show(user, chosen).await;
        let mut conversations = shown.map_err(|error| unavailable(&error))?;
        let fitting = fitting(conversations.iter(), self.answer_bytes_most()).max(1);
        let next = if fitting < conversations.len() {
            conversations.truncate(fitting);
            let last = conversations.last().map(|it| &it.conversation_id);
            places.into_iter().find(|it| Some(&it.id) == last)
        } else {
            next
        };
        Ok(Conversations {
            conversations,
            next: next.map(|it| it.token()),
        })
    }
}
