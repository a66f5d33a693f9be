//! How many messages a member has not read: in one conversation, and in all of many users' conversations together.
//!
//! Many users' numbers cost a query for each conversation in which anybody has anything unread, not one for each of them:
//! the last messages with their senders tell it of most of the members. Who has written much of them himself is counted
//! alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bus::Lane;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::rpc::{CountUnread, Unread};
use protocol::{ConversationId, Refusal, UserId, limits};
use tokio::time::timeout;

use super::view::View;
use super::within;
use crate::service::{Service, unavailable};
use crate::store::{ConversationDocument, StoreError};

/// Users of one request.
const USERS_MOST: usize = 256;
/// Time for MongoDB to catch up: who is told of a message late is told of it without a number.
const CATCH_UP: Duration = Duration::from_millis(700);
/// Queries of one request under way at once.
const CONCURRENCY: usize = 8;
/// Conversations of one query: far below the size of a command.
const CONVERSATIONS: usize = 5_000;
/// Last messages of a conversation that are looked at for all of its members: twice as many as are ever counted.
const RECENT: usize = 2 * limits::UNREAD_MOST as usize;
/// Events looked through at once for one member, and how often: his own messages among them do not count, and somebody
/// who never reads what he writes into must not cost a scan of everything.
const WINDOW: u64 = 1_000;
const WINDOWS: u64 = 5;

/// Members who may not have read all of a conversation, each with the `seq` from which on he has not.
#[derive(Debug)]
struct Readers {
    last: u64,
    from: Vec<(UserId, u64)>,
}

/// The last messages of a conversation, newest first.
#[derive(Debug)]
struct Recent {
    messages: Vec<(u64, UserId)>,
    /// Whether there are no earlier ones that anybody has not read.
    whole: bool,
}

impl Recent {
    /// How many of others there are from a `seq` on; `None` where that is not known from these.
    fn unread(&self, user: &UserId, from: u64) -> Option<u32> {
        let later = self.messages.iter().take_while(|(seq, _)| *seq >= from);
        let count = later.filter(|(_, sender)| sender != user).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(limits::UNREAD_MOST);
        let reached = self.whole || self.messages.last().is_some_and(|(seq, _)| *seq <= from);
        (reached || count == limits::UNREAD_MOST).then_some(count)
    }
}

impl Service {
    /// Counts users' unread messages over all their conversations, each as a list of conversations shows it.
    ///
    /// # Errors
    /// `invalid` for too many users, `unavailable`.
    pub(crate) async fn unread(&self, request: CountUnread) -> Result<Unread, Refusal> {
        if request.users.len() > USERS_MOST {
            return Err(Refusal::invalid(format!("`users`: {USERS_MOST} at most")));
        }
        within(async {
            let lanes: HashSet<Lane> = request.conversations.iter().map(|id| self.log.place(id).0).collect();
            let lanes = lanes.into_iter().chain([Lane::Receipts]);
            let caught_up = try_join_all(lanes.map(|lane| self.wait_for_lane(lane)));
            let caught_up = timeout(CATCH_UP, caught_up).await;
            caught_up.map_err(|_| unavailable(&"MongoDB had not caught up"))??;
            let counts = self.unread_of(&request.users).await;
            let counts = counts.map_err(|error| unavailable(&error))?;
            let count = |user| counts.get(user).copied().unwrap_or(0);
            Ok(Unread {
                counts: request.users.iter().map(count).collect(),
            })
        })
        .await
    }

    async fn unread_of(&self, users: &[UserId]) -> Result<HashMap<UserId, u32>, StoreError> {
        let readers = stream::iter(self.readers(users).await?);
        let counts = readers.map(|(id, readers)| async move { self.unread_in(&id, readers).await });
        let mut totals: HashMap<UserId, u32> = HashMap::new();
        let mut counts = counts.buffer_unordered(CONCURRENCY);
        while let Some(counts) = counts.try_next().await? {
            for (user, count) in counts {
                *totals.entry(user).or_default() += count;
            }
        }
        Ok(totals)
    }

    /// Where any of the users may have anything unread.
    async fn readers(&self, users: &[UserId]) -> Result<HashMap<ConversationId, Readers>, StoreError> {
        let users: Vec<UserId> = users.iter().cloned().collect::<HashSet<_>>().into_iter().collect();
        let memberships = self.store.memberships_of(&users).await?;
        let ids: HashSet<ConversationId> = memberships.iter().map(|it| it.key.conversation_id.clone()).collect();
        let ids: Vec<ConversationId> = ids.into_iter().collect();
        let mut documents: HashMap<ConversationId, ConversationDocument> = HashMap::new();
        for ids in ids.chunks(CONVERSATIONS) {
            let found = self.store.ends(ids).await?;
            documents.extend(found.into_iter().map(|it| (it.id.clone(), it)));
        }
        let mut readers: HashMap<ConversationId, Readers> = HashMap::new();
        for own in memberships {
            let document = documents.get(&own.key.conversation_id);
            let range = document.and_then(|it| View::of(it, &own)?.unread_range(it));
            let Some((from, last)) = range else { continue };
            let all = readers
                .entry(own.key.conversation_id)
                .or_insert(Readers { last, from: Vec::new() });
            all.from.push((own.key.user_id, from));
        }
        Ok(readers)
    }

    async fn unread_in(&self, id: &ConversationId, readers: Readers) -> Result<Vec<(UserId, u32)>, StoreError> {
        let first = readers.from.iter().map(|(_, from)| *from).min().unwrap_or(readers.last);
        let messages = self.store.recent(id, first, readers.last, RECENT as i64).await?;
        let whole = messages.len() < RECENT;
        let recent = Recent { messages, whole };
        let mut counts = Vec::with_capacity(readers.from.len());
        for (user, from) in readers.from {
            let count = match recent.unread(&user, from) {
                Some(count) => count,
                None => self.unread_count(&user, id, from, readers.last).await?,
            };
            counts.push((user, count));
        }
        Ok(counts)
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
        for _ in 0..WINDOWS {
            let to = last.min(from + WINDOW - 1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::state::tests::user;

    /// Messages with these `seq`s, every `own`th of them ann's, the others bob's.
    fn recent(seqs: std::ops::RangeInclusive<u64>, own: u64, whole: bool) -> Recent {
        let message = |seq: u64| (seq, user(if seq.is_multiple_of(own) { "ann" } else { "bob" }));
        Recent {
            messages: seqs.rev().map(message).collect(),
            whole,
        }
    }

    #[test]
    fn messages_of_others_from_a_seq_on_are_unread() {
        let recent = recent(11..=20, 5, false);
        assert_eq!(recent.unread(&user("ann"), 16), Some(4));
        assert_eq!(recent.unread(&user("bob"), 16), Some(1));
        assert_eq!(recent.unread(&user("eve"), 11), Some(10));
        assert_eq!(recent.unread(&user("eve"), 21), Some(0));
    }

    #[test]
    fn what_begins_before_the_last_messages_is_known_only_if_there_are_no_others_or_enough_of_them() {
        assert_eq!(recent(11..=20, 5, false).unread(&user("ann"), 3), None);
        assert_eq!(recent(11..=20, 5, true).unread(&user("ann"), 3), Some(8));
        assert_eq!(recent(1..=200, 5, false).unread(&user("ann"), 0), Some(100));
        assert_eq!(recent(101..=300, 5, false).unread(&user("bob"), 7), None);
    }
}
