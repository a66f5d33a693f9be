//! What a batch of events writes, folded to one update for each conversation and member.
//!
//! Everything is idempotent and monotone: written twice, in any order, by any number of replicas at once, it comes to
//! the same.

use std::collections::HashMap;

use mongodb::bson::{RawDocumentBuf, cstr, rawdoc};
use protocol::rpc::ReceiptKind;
use protocol::server_frame::ConversationCreated;
use protocol::{ConversationId, Timestamp, UserId};

use super::encode::{conversation_type, created, date, message, role};
use super::queries::signed;
use crate::conversation::state::first_role;
use crate::event::Event;

/// The documents and updates of some events.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Documents to insert, in the events' order; receipts have none.
    pub(super) events: Vec<RawDocumentBuf>,
    pub(super) conversations: Vec<RawDocumentBuf>,
    pub(super) members: Vec<RawDocumentBuf>,
}

#[derive(Default)]
struct Fold<'a> {
    created: Option<&'a ConversationCreated>,
    head: Option<(u64, Timestamp)>,
    last: Option<u64>,
}

impl Writes {
    /// Folds events into writes.
    pub(super) fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut writes = Self::default();
        let mut folds: HashMap<&ConversationId, Fold<'a>> = HashMap::new();
        let mut receipts: HashMap<(&UserId, &ConversationId, ReceiptKind), u64> = HashMap::new();
        for event in events {
            let fold = match event {
                Event::Receipt(kind, it) => {
                    let seq = receipts.entry((&it.user_id, &it.conversation_id, *kind)).or_default();
                    *seq = it.seq.max(*seq);
                    continue;
                }
                Event::Message(it) => {
                    writes.events.push(message(it, true));
                    let fold = folds.entry(&it.conversation_id).or_default();
                    fold.last = fold.last.max(Some(it.seq));
                    fold
                }
                Event::Created(it) => {
                    writes.events.push(created(it));
                    writes.members.extend(memberships(it));
                    let fold = folds.entry(&it.conversation_id).or_default();
                    fold.created = Some(it);
                    fold
                }
            };
            fold.head = fold.head.max(Some((event.seq(), event.timestamp())));
        }
        writes
            .conversations
            .extend(folds.into_iter().map(|(id, fold)| fold.update(id)));
        writes.members.extend(
            receipts
                .into_iter()
                .map(|((user, id, kind), seq)| watermark(user, id, kind, seq)),
        );
        writes
    }
}

impl Fold<'_> {
    fn update(&self, id: &ConversationId) -> RawDocumentBuf {
        let mut most = RawDocumentBuf::new();
        if let Some((seq, at)) = self.head {
            most.append(cstr!("head"), rawdoc! { "seq": signed(seq), "at": date(at) });
        }
        if let Some(last) = self.last {
            most.append(cstr!("last"), signed(last));
        }
        let mut update = RawDocumentBuf::new();
        if let Some(it) = self.created {
            let size = i64::try_from(it.members.len()).unwrap_or(i64::MAX);
            let mut state = rawdoc! { "seq": signed(it.seq), "size": size };
            if let Some(name) = &it.name {
                state.append(cstr!("name"), name.as_str());
            }
            most.append(cstr!("state"), state);
            let once = rawdoc! {
                "type": conversation_type(it.conversation_type),
                "created_at": date(it.timestamp),
                "by": it.by.as_str(),
            };
            update.append(cstr!("$set"), once);
        }
        update.append(cstr!("$max"), most);
        rawdoc! { "q": { "_id": id.as_str() }, "u": update, "upsert": true }
    }
}

fn memberships(it: &ConversationCreated) -> impl Iterator<Item = RawDocumentBuf> {
    it.members.iter().enumerate().map(move |(n, user)| {
        let membership = rawdoc! {
            "seq": signed(it.seq),
            "role": role(first_role(it, user)),
            "since": signed(it.seq),
            "n": i64::try_from(n).unwrap_or(i64::MAX),
        };
        member_update(user, &it.conversation_id, rawdoc! { "m": membership })
    })
}

/// What was read has been delivered.
fn watermark(user: &UserId, id: &ConversationId, kind: ReceiptKind, seq: u64) -> RawDocumentBuf {
    let most = match kind {
        ReceiptKind::Delivered => rawdoc! { "delivered": signed(seq) },
        ReceiptKind::Read => rawdoc! { "read": signed(seq), "delivered": signed(seq) },
    };
    member_update(user, id, most)
}

fn member_update(user: &UserId, id: &ConversationId, most: RawDocumentBuf) -> RawDocumentBuf {
    rawdoc! { "q": { "_id": { "u": user.as_str(), "c": id.as_str() } }, "u": { "$max": most }, "upsert": true }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};
    use protocol::server_frame::Receipt;

    use super::*;

    fn read(seq: u64) -> Event {
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let conversation_id = ConversationId::direct(&ann, &bob);
        let receipt = Receipt {
            conversation_id,
            user_id: ann,
            seq,
            timestamp: Timestamp::from_millis(1),
        };
        Event::Receipt(ReceiptKind::Read, receipt)
    }

    #[test]
    fn many_receipts_of_one_user_are_one_update_to_the_highest() {
        let writes = Writes::of(&[read(3), read(9), read(5)]);
        assert_eq!(writes.members.len(), 1);
        let update = Document::try_from(&writes.members[0]).unwrap();
        assert_eq!(
            update.get_document("u").unwrap(),
            &doc! { "$max": { "read": 9_i64, "delivered": 9_i64 } },
        );
        assert!(writes.events.is_empty() && writes.conversations.is_empty());
    }
}
