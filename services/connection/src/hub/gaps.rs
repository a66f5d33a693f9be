//! Proof that nobody skips an event: a conversation's `seq` is dense, so each event but the first follows one that is known.
//!
//! Only what the node can prove is called a gap. Where the event before is not known, or lies behind an entry that this
//! version cannot read, nothing is said. Receipts have no place in a conversation.

use std::collections::HashMap;

use protocol::ConversationId;

use super::event::{Event, Kind};

/// Which `seq` should have come, where another one did. `before`: that of the conversation's last known event.
pub fn expected_instead(event: &Event, before: u64) -> Option<u64> {
    let expected = before + 1;
    let counts = !matches!(event.kind, Kind::Receipt { .. });
    (counts && event.seq != expected).then_some(expected)
}

/// Looks through entries of a lane that are read in order, of each conversation without omission.
#[derive(Debug, Default)]
pub struct Follower {
    last: HashMap<ConversationId, u64>,
}

impl Follower {
    /// The next entry: which `seq` should have come in its place, if another one.
    pub fn on_event(&mut self, event: &Event) -> Option<u64> {
        if matches!(event.kind, Kind::Receipt { .. }) {
            return None;
        }
        let before = self.last.insert(event.conversation_id.clone(), event.seq)?;
        expected_instead(event, before)
    }

    /// An entry that cannot be read: it may be any conversation's.
    pub fn on_unreadable(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use protocol::rpc::ReceiptKind;
    use protocol::{ClientId, Timestamp, UserId};

    use super::*;

    fn event(conversation: u8, seq: u64) -> Event {
        Event {
            lane: 0,
            position: seq,
            conversation_id: ConversationId::parse(&format!("g{conversation:032x}")).unwrap(),
            seq,
            timestamp: Timestamp::from_millis(0),
            kind: Kind::Message(UserId::parse("u").unwrap(), ClientId::generate()),
            frame: "x".into(),
            trace: None,
        }
    }

    fn gaps(follower: &mut Follower, events: &[(u8, u64)]) -> Vec<u64> {
        let each = events
            .iter()
            .filter_map(|(id, seq)| follower.on_event(&event(*id, *seq)));
        each.collect()
    }

    #[test]
    fn an_event_that_does_not_follow_its_conversations_last_one_is_a_gap() {
        let mut follower = Follower::default();
        assert!(gaps(&mut follower, &[(1, 7), (2, 1), (1, 8), (2, 2)]).is_empty());
        assert_eq!(gaps(&mut follower, &[(1, 10), (2, 3)]), [9]);
        assert_eq!(gaps(&mut follower, &[(1, 10)]), [11], "nor may one come twice");
    }

    #[test]
    fn what_cannot_be_read_proves_nothing() {
        let mut follower = Follower::default();
        gaps(&mut follower, &[(1, 7)]);
        follower.on_unreadable();
        assert!(gaps(&mut follower, &[(1, 9), (1, 10)]).is_empty());
    }

    #[test]
    fn a_receipt_has_no_place_in_the_conversation() {
        let mut receipt = event(1, 3);
        receipt.kind = Kind::Receipt {
            user: UserId::parse("u").unwrap(),
            kind: ReceiptKind::Read,
            to: None,
        };
        assert_eq!(expected_instead(&receipt, 9), None);
        let mut follower = Follower::default();
        gaps(&mut follower, &[(1, 9)]);
        assert_eq!(follower.on_event(&receipt), None);
        assert!(gaps(&mut follower, &[(1, 10)]).is_empty());
    }
}
