//! What this client has received and read, and what of it the server must still be told. Coalesced: one confirmation
//! for many messages. Pure; the time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use protocol::ConversationId;
use protocol::rpc::ReceiptKind;
use serde_json::{Value, json};

/// Receipts wait so long for more of their kind.
const COALESCE: Duration = Duration::from_millis(150);

/// `ref` of the frames.
pub(super) const REFERENCE: &str = "receipt";

/// Most frames at once; the rest is due right after.
const FRAMES: usize = 32;

/// Watermarks per conversation, and what was told on this connection. As many as the user has conversations.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    marks: HashMap<(ConversationId, Kind), Watermark>,
    /// When the oldest of those not told is due.
    due: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Delivered,
    Read,
}

#[derive(Debug, Default)]
struct Watermark {
    known: u64,
    /// On this connection.
    told: u64,
    /// The server has said that it knows.
    confirmed: u64,
}

impl Receipts {
    /// Everything up to `seq` has come, or was shown.
    pub(super) fn note(&mut self, conversation: &ConversationId, kind: ReceiptKind, seq: u64, now: Instant) {
        let kind = match kind {
            ReceiptKind::Delivered => Kind::Delivered,
            ReceiptKind::Read => Kind::Read,
        };
        let mark = self.marks.entry((conversation.clone(), kind)).or_default();
        if seq > mark.known {
            mark.known = seq;
            self.due.get_or_insert(now + COALESCE);
        }
    }

    /// The server knows this much already.
    pub(super) fn known_to_server(&mut self, conversation: &ConversationId, delivered: u64, read: u64) {
        for (kind, seq) in [(Kind::Delivered, delivered), (Kind::Read, read)] {
            let mark = self.marks.entry((conversation.clone(), kind)).or_default();
            mark.known = mark.known.max(seq);
            mark.confirmed = mark.confirmed.max(seq);
            mark.told = mark.told.max(seq);
        }
    }

    /// A receipt is never acked: what was told on a connection that broke is told again on the next one.
    pub(super) fn reconnected(&mut self, now: Instant) {
        for mark in self.marks.values_mut() {
            mark.told = mark.confirmed;
        }
        let has_untold = self.marks.values().any(|mark| mark.known > mark.told);
        self.due = has_untold.then_some(now);
    }

    /// A conversation whose log was made anew begins at nothing.
    pub(super) fn forget(&mut self, conversation: &ConversationId) {
        self.marks.retain(|(id, _), _| id != conversation);
    }

    /// When [`Receipts::take`] has something.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The frames that are due.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Value> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let untold = self.marks.iter_mut().filter(|(_, mark)| mark.known > mark.told);
        let mut frames: Vec<(Kind, Value)> = untold
            .take(FRAMES)
            .map(|((conversation, kind), mark)| {
                mark.told = mark.known;
                let name = match kind {
                    Kind::Delivered => "message:delivered",
                    Kind::Read => "message:read",
                };
                (
                    *kind,
                    json!({"type": name, "conversation_id": conversation, "seq": mark.known, "ref": REFERENCE}),
                )
            })
            .collect();
        self.due = (frames.len() == FRAMES).then_some(now);
        frames.sort_by_key(|(kind, _)| *kind);
        frames.into_iter().map(|(_, frame)| frame).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> ConversationId {
        ConversationId::parse("d00000000000000000000000000000000").unwrap()
    }

    #[test]
    fn many_receipts_become_one_frame_of_each_kind_after_a_moment() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        for seq in [2, 4, 3] {
            receipts.note(&conversation(), ReceiptKind::Read, seq, now);
            receipts.note(&conversation(), ReceiptKind::Delivered, seq, now);
        }
        assert!(receipts.take(now).is_empty());
        let frames = receipts.take(now + COALESCE);
        let told: Vec<_> = frames
            .iter()
            .map(|it| (it["type"].as_str().unwrap(), it["seq"].as_u64().unwrap()))
            .collect();
        assert_eq!(told, [("message:delivered", 4), ("message:read", 4)]);
        assert_eq!((receipts.due(), receipts.take(now + 2 * COALESCE).len()), (None, 0));
    }

    #[test]
    fn what_the_server_knows_is_not_told_and_a_mark_never_falls() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        receipts.known_to_server(&conversation(), 5, 5);
        receipts.note(&conversation(), ReceiptKind::Read, 5, now);
        receipts.note(&conversation(), ReceiptKind::Read, 3, now);
        assert!(receipts.take(now + COALESCE).is_empty());
    }

    #[test]
    fn after_a_reconnect_everything_is_told_again() {
        let (mut receipts, now) = (Receipts::default(), Instant::now());
        receipts.note(&conversation(), ReceiptKind::Delivered, 2, now);
        assert_eq!(receipts.take(now + COALESCE).len(), 1);
        receipts.reconnected(now + COALESCE);
        assert_eq!(receipts.take(now + COALESCE)[0]["seq"], 2);
    }
}
