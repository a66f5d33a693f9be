//! A page of a conversation's members, with who has received and read what.

use bus::Lane;
use protocol::http::Members;
use protocol::rpc::ListMembers;
use protocol::{ConversationId, Refusal};

use super::show::listed;
use super::within;
use crate::conversation::load::Freshness;
use crate::service::{Service, unavailable};
use crate::store::MemberPage;

impl Service {
    /// Lists members in the order in which they joined.
    ///
    /// # Errors
    /// `not_found`, `invalid` for a token that is none, `unavailable`.
    pub(crate) async fn members(&self, request: ListMembers) -> Result<Members, Refusal> {
        within(self.members_within(request)).await
    }

    async fn members_within(&self, request: ListMembers) -> Result<Members, Refusal> {
        let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let after = match &request.next {
            None => None,
            Some(token) => Some(parse(token).ok_or_else(|| Refusal::invalid("`next` is not a token of ours"))?),
        };
        let conversation = self.conversations.open(&id);
        let state = self
            .state_for(&conversation, &request.user_id, Freshness::Fresh)
            .await?;
        tokio::try_join!(
            self.wait_for_state(&conversation, &state),
            self.wait_for_lane(Lane::Receipts)
        )?;
        let page = MemberPage {
            after,
            read: request.read,
            delivered: request.delivered,
        };
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).max(1);
        let found = self.store.member_page(&id, &page, limit + 1).await;
        let mut found = found.map_err(|error| unavailable(&error))?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|it| token(it.joined_at()));
        Ok(Members {
            members: found.into_iter().filter_map(listed).collect(),
            next,
        })
    }
}

/// The token of the page that follows whoever joined with the event `since`, as the one at `place` among them.
fn token((since, place): (u64, u64)) -> String {
    format!("1.{since:x}.{place:x}")
}

/// `None` for anything that [`token`] cannot have written.
fn parse(text: &str) -> Option<(u64, u64)> {
    let (since, place) = text.strip_prefix("1.")?.split_once('.')?;
    let place = (
        u64::from_str_radix(since, 16).ok()?,
        u64::from_str_radix(place, 16).ok()?,
    );
    (token(place) == text).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_and_anything_else_is_none() {
        for place in [(0, 0), (1, 9_999), (u64::MAX, 7)] {
            assert_eq!(parse(&token(place)), Some(place));
        }
        for text in ["", "1", "1.5", "1.5.", "2.5.5", "1.05.5", "1.+5.5", "1.5.5.5", "1.5.g"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
