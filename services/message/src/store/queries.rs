//! Every query that is ever made of MongoDB, as the command that is sent: a test explains each and finds an index.
//!
//! No text from a client stands in a command but as a plain string value, so none can become an operator.

use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use protocol::{ClientId, ConversationId, UserId};

use super::{CONVERSATIONS, MEMBERS, MESSAGES, READ_MOST};
use crate::event::MESSAGE;

/// Most members of a conversation that are read at once when its state is loaded.
const MEMBERS_BATCH: i32 = 10_001;

fn find(collection: &str, filter: Document) -> Document {
    let most_ms = READ_MOST.as_millis() as i64;
    doc! { "find": collection, "filter": filter, "maxTimeMS": most_ms, "batchSize": MEMBERS_BATCH }
}

fn limited(collection: &str, filter: Document, sort: Document, limit: i64) -> Document {
    let mut query = find(collection, filter);
    query.insert("sort", sort);
    query.insert("limit", limit);
    query.insert("batchSize", limit);
    query
}

/// `_id` of an event. The order of its fields is part of the key.
pub(super) fn key(id: &ConversationId, seq: u64) -> Document {
    doc! { "c": id.as_str(), "s": signed(seq) }
}

/// MongoDB's integers are signed; no `seq` comes near the difference.
pub(super) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// A client id as the index holds it: the same however it was written.
pub(super) fn client_key(id: &ClientId) -> Binary {
    Binary {
        subtype: BinarySubtype::Uuid,
        bytes: id.uuid().as_bytes().to_vec(),
    }
}

/// One conversation.
pub(crate) fn conversation(id: &ConversationId) -> Document {
    find(CONVERSATIONS, doc! { "_id": id.as_str() })
}

/// Many conversations.
pub(crate) fn conversations(ids: &[ConversationId]) -> Document {
    let ids: Vec<&str> = ids.iter().map(ConversationId::as_str).collect();
    find(CONVERSATIONS, doc! { "_id": { "$in": ids } })
}

/// When each of many conversations had its last event: for their order, where there are too many to read in full.
pub(crate) fn heads(ids: &[ConversationId]) -> Document {
    let mut query = conversations(ids);
    query.insert("projection", doc! { "_id": 1, "head.at": 1 });
    query
}

/// Of many conversations what tells which of their messages a member has not read.
pub(crate) fn ends(ids: &[ConversationId]) -> Document {
    let mut query = conversations(ids);
    let wanted = doc! { "_id": 1, "last": 1, "state.size": 1, "state.history": 1, "shows": 1 };
    query.insert("projection", wanted);
    query
}

/// What is there of a member while he is one: of one who has left, `m` holds only that.
fn present() -> Document {
    doc! { "$gte": 1_i64 }
}

fn present_of(user: &UserId) -> Document {
    let from = doc! { "u": user.as_str(), "c": Bson::MinKey };
    let to = doc! { "u": user.as_str(), "c": Bson::MaxKey };
    doc! { "_id": { "$gte": from, "$lte": to }, "m.since": present() }
}

/// The present memberships of a user.
pub(crate) fn memberships(user: &UserId) -> Document {
    find(MEMBERS, present_of(user))
}

/// The present memberships of many users, with what they have read. By an index of its own: with a range of keys for each
/// user MongoDB would plan each of them, which took half of its time under a load of notifications.
pub(crate) fn memberships_of(users: &[UserId]) -> Document {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    let mut query = find(MEMBERS, doc! { "_id.u": { "$in": users }, "m.since": present() });
    query.insert("projection", doc! { "_id": 1, "m": 1, "read": 1 });
    query
}

/// Some memberships of all users, in the order of their keys, after one of them.
pub(crate) fn all_members(after: Option<&(UserId, ConversationId)>, limit: i64) -> Document {
    let after = after.map_or(doc! { "u": Bson::MinKey, "c": Bson::MinKey }, |(user, id)| {
        doc! { "u": user.as_str(), "c": id.as_str() }
    });
    limited(MEMBERS, doc! { "_id": { "$gt": after } }, doc! { "_id": 1 }, limit)
}

/// One membership.
pub(crate) fn member(user: &UserId, id: &ConversationId) -> Document {
    find(MEMBERS, doc! { "_id": { "u": user.as_str(), "c": id.as_str() } })
}

/// Some memberships of any users.
pub(crate) fn members_at(keys: &[(UserId, ConversationId)]) -> Document {
    let keys: Vec<Document> = keys
        .iter()
        .map(|(user, id)| doc! { "u": user.as_str(), "c": id.as_str() })
        .collect();
    find(MEMBERS, doc! { "_id": { "$in": keys } })
}

/// The members of a conversation in the order in which they joined.
pub(crate) fn members(id: &ConversationId, limit: i64) -> Document {
    limited(
        MEMBERS,
        doc! { "_id.c": id.as_str(), "m.since": present() },
        doc! { "m.since": 1, "m.n": 1 },
        limit,
    )
}

/// Which of a conversation's members are wanted on one page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemberPage {
    /// `since` and place of the last one on the page before.
    pub(crate) after: Option<(u64, u64)>,
    /// Only those who have read everything up to this `seq`.
    pub(crate) read: Option<u64>,
    /// Only those whose devices have received everything up to this `seq`.
    pub(crate) delivered: Option<u64>,
}

/// The members of a page, in the order in which they joined: of a page that goes on after somebody first those who
/// joined with the same event, then the others. Two queries, since one could not use the index for its order.
pub(crate) fn member_page(id: &ConversationId, page: &MemberPage, limit: i64) -> Vec<Document> {
    let parts = match page.after {
        None => vec![doc! { "m.since": present() }],
        Some((since, place)) => vec![
            doc! { "m.since": signed(since), "m.n": { "$gt": signed(place) } },
            doc! { "m.since": { "$gt": signed(since) } },
        ],
    };
    let query = |part: Document| {
        let mut filter = doc! { "_id.c": id.as_str() };
        filter.extend(part);
        for (name, least) in [("read", page.read), ("delivered", page.delivered)] {
            if let Some(least) = least.filter(|it| *it > 0) {
                filter.insert(name, doc! { "$gte": signed(least) });
            }
        }
        limited(MEMBERS, filter, doc! { "m.since": 1, "m.n": 1 }, limit)
    };
    parts.into_iter().map(query).collect()
}

/// All members of small conversations.
pub(crate) fn members_of(ids: &[ConversationId]) -> Document {
    let ids: Vec<&str> = ids.iter().map(ConversationId::as_str).collect();
    find(MEMBERS, doc! { "_id.c": { "$in": ids }, "m.since": present() })
}

/// One event.
pub(crate) fn event(id: &ConversationId, seq: u64) -> Document {
    find(MESSAGES, doc! { "_id": key(id, seq) })
}

/// Some events of any conversations.
pub(crate) fn events<'a>(keys: impl IntoIterator<Item = (&'a ConversationId, u64)>) -> Document {
    let keys: Vec<Document> = keys.into_iter().map(|(id, seq)| key(id, seq)).collect();
    find(MESSAGES, doc! { "_id": { "$in": keys } })
}

/// The events of a conversation above a `seq`, oldest first: only their keys.
pub(crate) fn events_above(id: &ConversationId, seq: u64, limit: i64) -> Document {
    let range = doc! { "$gt": key(id, seq), "$lte": key(id, u64::MAX) };
    let mut query = limited(MESSAGES, doc! { "_id": range }, doc! { "_id": 1 }, limit);
    query.insert("projection", doc! { "_id": 1 });
    query
}

/// The first or last messages of a conversation within exclusive bounds.
pub(crate) fn history(id: &ConversationId, after: u64, before: u64, oldest_first: bool, limit: i64) -> Document {
    let range = doc! { "$gt": key(id, after), "$lt": key(id, before) };
    let direction = if oldest_first { 1 } else { -1 };
    limited(
        MESSAGES,
        doc! { "_id": range, "t": MESSAGE },
        doc! { "_id": direction },
        limit,
    )
}

/// The messages of others than `user` within inclusive bounds: only their keys, to be counted.
pub(crate) fn unread(id: &ConversationId, user: &UserId, from: u64, to: u64, limit: i64) -> Document {
    let range = doc! { "$gte": key(id, from), "$lte": key(id, to) };
    let filter = doc! { "_id": range, "t": MESSAGE, "sender": { "$ne": user.as_str() } };
    let mut query = limited(MESSAGES, filter, doc! { "_id": 1 }, limit);
    query.insert("projection", doc! { "_id": 1 });
    query
}

/// Who sent the last messages within inclusive bounds, newest first, with their keys.
pub(crate) fn recent(id: &ConversationId, from: u64, to: u64, limit: i64) -> Document {
    let range = doc! { "$gte": key(id, from), "$lte": key(id, to) };
    let filter = doc! { "_id": range, "t": MESSAGE };
    let mut query = limited(MESSAGES, filter, doc! { "_id": -1 }, limit);
    query.insert("projection", doc! { "_id": 1, "sender": 1 });
    query
}

/// The last messages of a conversation: only their keys, to be counted.
pub(crate) fn last_keys(id: &ConversationId, limit: i64) -> Document {
    let mut query = history(id, 0, u64::MAX, false, limit);
    query.insert("projection", doc! { "_id": 1 });
    query
}

/// Who sent the last messages within exclusive bounds, newest first.
pub(crate) fn senders(id: &ConversationId, after: u64, before: u64, limit: i64) -> Document {
    let mut query = history(id, after, before, false, limit);
    query.insert("projection", doc! { "_id": 0, "sender": 1 });
    query
}

/// The message that a sender's client sent under an id.
pub(crate) fn sent(id: &ConversationId, sender: &UserId, client_id: &ClientId) -> Document {
    let filter = doc! { "_id.c": id.as_str(), "sender": sender.as_str(), "client_key": client_key(client_id) };
    let mut query = limited(MESSAGES, filter, doc! {}, 1);
    query.remove("sort");
    query.insert("projection", doc! { "_id": 1, "at": 1 });
    query
}

/// One of each query, with arguments of the usual size, by name.
pub fn samples() -> Vec<(&'static str, Document)> {
    let (Some(ann), Some(bob)) = (UserId::parse("ann"), UserId::parse("bob")) else {
        return Vec::new();
    };
    let id = ConversationId::direct(&ann, &bob);
    let ids = [id.clone(), ConversationId::direct(&ann, &ann)];
    let page = MemberPage {
        after: Some((1, 5)),
        read: Some(7),
        delivered: Some(7),
    };
    let pages = member_page(&id, &MemberPage::default(), 100)
        .into_iter()
        .chain(member_page(&id, &page, 100))
        .zip(["member_page_first", "member_page_same_event", "member_page_later"]);
    let mut samples = vec![
        ("conversation", conversation(&id)),
        ("conversations", conversations(&ids)),
        ("heads", heads(&ids)),
        ("ends", ends(&ids)),
        ("memberships", memberships(&ann)),
        ("memberships_of", memberships_of(&[ann.clone(), bob.clone()])),
        ("all_members", all_members(Some(&(ann.clone(), id.clone())), 100)),
        ("member", member(&ann, &id)),
        (
            "members_at",
            members_at(&[(ann.clone(), id.clone()), (bob, id.clone())]),
        ),
        ("members", members(&id, 100)),
        ("members_of", members_of(&ids)),
        ("event", event(&id, 7)),
        ("events", events([(&id, 7), (&id, 8)])),
        ("events_above", events_above(&id, 5, 100)),
        ("history_newest_first", history(&id, 0, 100, false, 51)),
        ("history_oldest_first", history(&id, 0, 100, true, 51)),
        ("unread", unread(&id, &ann, 1, 100, 100)),
        ("recent", recent(&id, 1, 100, 200)),
        ("last_keys", last_keys(&id, 100)),
        ("senders", senders(&id, 0, 100, 100)),
        ("sent", sent(&id, &ann, &ClientId::generate())),
    ];
    samples.extend(pages.map(|(query, name)| (name, query)));
    samples
}
