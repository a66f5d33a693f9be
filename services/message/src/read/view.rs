//! What one member sees of a conversation, and where in it there may be messages that he has not read.

use protocol::http::HistoryAccess;

use crate::store::{ConversationDocument, MemberDocument, Standing, unsigned};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// His read watermark.
    pub(super) read_seq: u64,
    /// The first `seq` that he sees.
    visible_from: u64,
}

impl View {
    /// `None` where he is no member.
    pub(super) fn of(document: &ConversationDocument, own: &MemberDocument) -> Option<Self> {
        let Standing::Present { since, .. } = own.standing() else {
            return None;
        };
        let visible_from = match document.history() {
            HistoryAccess::All => 0,
            HistoryAccess::Joined => since,
        };
        Some(Self {
            read_seq: unsigned(own.read),
            visible_from,
        })
    }

    /// `seq` of the last message that he sees.
    pub(super) fn last(self, document: &ConversationDocument) -> Option<u64> {
        document.last.map(unsigned).filter(|it| *it >= self.visible_from)
    }

    /// The `seq`s, inclusive, between which there may be messages that he has not read.
    pub(super) fn unread_range(self, document: &ConversationDocument) -> Option<(u64, u64)> {
        let from = (self.read_seq + 1).max(self.visible_from);
        self.last(document)
            .filter(|last| *last >= from)
            .map(|last| (from, last))
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{deserialize_from_document, doc};

    use super::*;

    /// A group of ten messages, and a member who joined with the event 5 and has read up to `read`.
    fn seen(history: &str, read: i64) -> (ConversationDocument, View) {
        let id = "g00000000000000000000000000000000";
        let document = doc! { "_id": id, "state": { "size": 2_i64, "history": history }, "last": 10_i64 };
        let own = doc! {
            "_id": { "u": "ann", "c": id },
            "m": { "seq": 5_i64, "role": "member", "since": 5_i64, "n": 0_i64 },
            "read": read,
        };
        let document = deserialize_from_document(document).unwrap();
        let view = View::of(&document, &deserialize_from_document(own).unwrap()).unwrap();
        (document, view)
    }

    fn range(history: &str, read: i64) -> Option<(u64, u64)> {
        let (document, view) = seen(history, read);
        view.unread_range(&document)
    }

    #[test]
    fn what_lies_before_his_time_is_unread_only_where_he_sees_it() {
        assert_eq!(range("all", 0), Some((1, 10)));
        assert_eq!(range("joined", 0), Some((5, 10)));
        assert_eq!(range("joined", 7), Some((8, 10)));
        assert_eq!(range("joined", 10), None);
    }

    #[test]
    fn a_last_message_before_his_time_is_not_shown() {
        let (document, view) = seen("joined", 0);
        let later = View {
            visible_from: 11,
            ..view
        };
        assert_eq!((later.last(&document), later.unread_range(&document)), (None, None));
        assert_eq!(view.last(&document), Some(10));
    }
}
