//! What a session itself caused and must not be told as news: its sends, until its stream has passed them, and its
//! receipts.

use std::collections::{HashMap, VecDeque};

use protocol::client_frame::Reference;
use protocol::rpc::ReceiptKind;
use protocol::{ClientId, ConversationId, Timestamp};
use tokio::time::{Duration, Instant};

/// A send whose outcome stayed unknown is remembered this long: the log may still show it.
const UNKNOWN_KEPT: Duration = Duration::from_secs(60);
/// Receipts remembered; of older ones the session is told.
const RECEIPTS_MOST: usize = 2_048;

/// A client id that this session sent, once or more often.
#[derive(Debug)]
struct Send {
    /// As the client wrote it in the last frame with this id.
    client_id: ClientId,
    reference: Option<Reference>,
    /// Frames with this id that have not been answered yet.
    unanswered: u32,
    /// How far the lane was dispatched at the first of them: a message before that is none of this session's.
    sent_after: u64,
    /// The message, once it is known to be in the log.
    logged: Option<Logged>,
    unknown_since: Option<Instant>,
    /// When the first of the unanswered frames came.
    came: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Own {
    /// Whether being in the log is what an ack promises; where it promises more, only the reply can give it.
    log_is_ack: bool,
    sends: HashMap<(ConversationId, ClientId), Send>,
    /// The last receipts, oldest first.
    receipts: VecDeque<Receipt>,
    /// See [`Own::take_came`].
    came: Option<Instant>,
}

#[derive(Debug)]
struct Receipt {
    conversation: ConversationId,
    kind: ReceiptKind,
    seq: u64,
    at: Instant,
}

/// A message of this session in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// Its lane.
    pub lane: usize,
    /// Its position in the lane.
    pub position: u64,
    /// Its place in the conversation.
    pub seq: u64,
    /// When it was accepted.
    pub timestamp: Timestamp,
}

/// What a client is to be told when a send of his was not answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Tell {
    /// The refusal.
    Refusal,
    /// That it is in the log nevertheless.
    Ack(Logged),
    /// Nothing: he has his answer.
    Nothing,
}

/// What to do about a message of this session that the log shows.
#[derive(Debug, PartialEq)]
pub enum Seen {
    /// It is not of this session: deliver it.
    NotOurs,
    /// It was answered, or will be: nothing.
    Known,
    /// Its sender was told that the outcome is unknown; now it is known: answer with this.
    AckNow(ClientId, Option<Reference>),
}

impl Own {
    /// Nothing yet. `log_is_ack`: acks mean that a message is in the log, not that it is stored as well.
    pub fn new(log_is_ack: bool) -> Self {
        Self {
            log_is_ack,
            sends: HashMap::new(),
            receipts: VecDeque::new(),
            came: None,
        }
    }

    /// When the send came that is to be acked by the last call of [`Own::acked`] or [`Own::refused`]; once.
    pub fn take_came(&mut self) -> Option<Instant> {
        self.came.take()
    }

    /// Notes a send that is about to be asked for, while its lane is dispatched up to `sent_after`.
    pub fn sending(
        &mut self,
        conversation: &ConversationId,
        client_id: &ClientId,
        reference: Option<Reference>,
        sent_after: u64,
    ) {
        let fresh = Send {
            client_id: client_id.clone(),
            reference: None,
            unanswered: 0,
            sent_after,
            logged: None,
            unknown_since: None,
            came: Instant::now(),
        };
        let came = fresh.came;
        let send = self
            .sends
            .entry((conversation.clone(), client_id.clone()))
            .or_insert(fresh);
        send.client_id = client_id.clone();
        send.reference = reference;
        if send.unanswered == 0 {
            send.came = came;
        }
        send.unanswered += 1;
        send.unknown_since = None;
    }

    /// Notes that a send was acked, and whether the client is still to be told.
    pub fn acked(&mut self, conversation: &ConversationId, client_id: &ClientId, logged: Logged) -> bool {
        let Some(send) = self.sends.get_mut(&(conversation.clone(), client_id.clone())) else {
            return true;
        };
        send.logged = Some(logged);
        let tell = send.unanswered > 0;
        self.came = tell.then_some(send.came);
        send.unanswered = send.unanswered.saturating_sub(1);
        tell
    }

    /// Notes that a send was refused, for good or with an unknown outcome, and what the client is to be told.
    pub fn refused(
        &mut self,
        conversation: &ConversationId,
        client_id: &ClientId,
        unknown: bool,
        now: Instant,
    ) -> Tell {
        let key = (conversation.clone(), client_id.clone());
        let Some(send) = self.sends.get_mut(&key) else {
            return Tell::Refusal;
        };
        if send.unanswered == 0 {
            return Tell::Nothing;
        }
        send.unanswered -= 1;
        if let Some(logged) = send.logged.filter(|_| unknown && self.log_is_ack) {
            self.came = Some(send.came);
            return Tell::Ack(logged);
        }
        if unknown {
            send.unknown_since = Some(now);
        } else if send.unanswered == 0 && send.logged.is_none() {
            self.sends.remove(&key);
        }
        Tell::Refusal
    }

    /// The log shows a message of this session's user.
    pub fn seen(&mut self, conversation: &ConversationId, client_id: &ClientId, logged: Logged) -> Seen {
        if self.sends.is_empty() {
            return Seen::NotOurs;
        }
        let Some(send) = self.sends.get_mut(&(conversation.clone(), client_id.clone())) else {
            return Seen::NotOurs;
        };
        if logged.position <= send.sent_after {
            // Sent before, by another socket, and now retried by this one: the retry has an answer of its own.
            return Seen::NotOurs;
        }
        send.logged = Some(logged);
        if send.unanswered == 0 && self.log_is_ack && send.unknown_since.take().is_some() {
            return Seen::AckNow(send.client_id.clone(), send.reference.clone());
        }
        Seen::Known
    }

    /// Notes a receipt of this session, so that it is not told of it.
    pub fn confirming(&mut self, conversation: &ConversationId, kind: ReceiptKind, seq: u64, at: Instant) {
        if self.receipts.len() == RECEIPTS_MOST {
            self.receipts.pop_front();
        }
        self.receipts.push_back(Receipt {
            conversation: conversation.clone(),
            kind,
            seq,
            at,
        });
    }

    /// Forgets the receipts of a watermark of which one was refused: what others do is told from now on.
    pub fn not_confirmed(&mut self, conversation: &ConversationId, kind: ReceiptKind) {
        self.receipts
            .retain(|it| it.kind != kind || it.conversation != *conversation);
    }

    /// Whether a receipt of this session's user came from this session: exactly this one, so that nothing another device
    /// does is hidden by what this one asked for and did not get.
    pub fn confirmed(&self, conversation: &ConversationId, kind: ReceiptKind, seq: u64) -> bool {
        let same = |it: &Receipt| it.seq == seq && it.kind == kind && it.conversation == *conversation;
        self.receipts.iter().rev().any(same)
    }

    /// Forgets what the session's stream has passed.
    pub fn passed(&mut self, positions: &[u64], now: Instant) {
        self.sends.retain(|_, send| {
            let ahead = |it: Logged| positions.get(it.lane).is_none_or(|at| *at < it.position);
            let recent = |since: Instant| now.saturating_duration_since(since) < UNKNOWN_KEPT;
            send.unanswered > 0 || send.logged.is_some_and(ahead) || send.unknown_since.is_some_and(recent)
        });
        if self.sends.is_empty() {
            self.sends = HashMap::new();
        }
        let late = |it: &Receipt| now.saturating_duration_since(it.at) >= UNKNOWN_KEPT;
        while self.receipts.front().is_some_and(late) {
            self.receipts.pop_front();
        }
        if self.receipts.is_empty() {
            self.receipts = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (ConversationId, ClientId) {
        (
            ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            ClientId::generate(),
        )
    }

    const LOGGED: Logged = Logged {
        lane: 0,
        position: 7,
        seq: 3,
        timestamp: Timestamp::EPOCH,
    };

    #[test]
    fn the_log_is_the_ack_when_the_reply_was_lost_and_only_then() {
        let (conversation, id) = ids();
        let mut own = Own::new(true);
        own.sending(&conversation, &id, None, 0);
        assert_eq!(
            own.seen(&conversation, &id, LOGGED),
            Seen::Known,
            "the reply may still come"
        );
        assert_eq!(own.refused(&conversation, &id, true, Instant::now()), Tell::Ack(LOGGED));
        assert!(!own.acked(&conversation, &id, LOGGED), "a late reply is no second ack");
    }

    #[test]
    fn an_acked_send_is_remembered_until_the_stream_has_passed_it() {
        let (conversation, id) = ids();
        let mut own = Own::new(true);
        own.sending(&conversation, &id, None, 0);
        assert!(own.acked(&conversation, &id, LOGGED));
        own.passed(&[6], Instant::now());
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::Known);
        own.passed(&[7], Instant::now());
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::NotOurs);
    }

    #[test]
    fn a_send_of_unknown_outcome_is_acked_when_the_log_shows_it() {
        let (conversation, id) = ids();
        let mut own = Own::new(true);
        own.sending(&conversation, &id, None, 0);
        assert_eq!(own.refused(&conversation, &id, true, Instant::now()), Tell::Refusal);
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::AckNow(id, None));
    }

    #[test]
    fn each_of_two_frames_with_one_id_is_answered() {
        let (conversation, id) = ids();
        let mut own = Own::new(true);
        own.sending(&conversation, &id, None, 0);
        own.sending(&conversation, &id, None, 0);
        assert!(own.acked(&conversation, &id, LOGGED));
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::Known);
        assert!(own.acked(&conversation, &id, LOGGED));
    }

    #[test]
    fn a_message_that_was_there_before_its_retry_is_delivered_like_any_other() {
        let (conversation, id) = ids();
        let mut own = Own::new(true);
        own.sending(&conversation, &id, None, 7);
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::NotOurs);
        assert!(own.acked(&conversation, &id, LOGGED), "and the retry is answered");
    }

    #[test]
    fn where_acks_promise_more_than_the_log_only_the_reply_is_one() {
        let (conversation, id) = ids();
        let mut own = Own::new(false);
        own.sending(&conversation, &id, None, 0);
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::Known);
        assert_eq!(own.refused(&conversation, &id, true, Instant::now()), Tell::Refusal);
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::Known);
    }

    #[test]
    fn a_send_refused_for_good_is_forgotten() {
        let (conversation, id) = ids();
        let mut own = Own::new(true);
        own.sending(&conversation, &id, None, 0);
        assert_eq!(own.refused(&conversation, &id, false, Instant::now()), Tell::Refusal);
        assert_eq!(own.seen(&conversation, &id, LOGGED), Seen::NotOurs);
    }

    #[test]
    fn what_another_device_read_is_not_hidden_by_a_receipt_of_this_one() {
        let (conversation, _) = ids();
        let (mut own, now) = (Own::new(true), Instant::now());
        for seq in [3, 1_000_000] {
            own.confirming(&conversation, ReceiptKind::Read, seq, now);
        }
        let hidden: Vec<u64> = (1..6)
            .filter(|seq| own.confirmed(&conversation, ReceiptKind::Read, *seq))
            .collect();
        assert_eq!(hidden, [3]);
        assert!(!own.confirmed(&conversation, ReceiptKind::Delivered, 3));
        own.not_confirmed(&conversation, ReceiptKind::Read);
        assert!(!own.confirmed(&conversation, ReceiptKind::Read, 3));
        own.confirming(&conversation, ReceiptKind::Read, 4, now);
        own.passed(&[], now + UNKNOWN_KEPT);
        assert!(own.receipts.is_empty());
    }

    #[test]
    fn a_flood_of_receipts_is_not_remembered() {
        let (conversation, _) = ids();
        let (mut own, now) = (Own::new(true), Instant::now());
        for seq in 0..10_000 {
            own.confirming(&conversation, ReceiptKind::Read, seq, now);
        }
        assert_eq!(own.receipts.len(), RECEIPTS_MOST);
    }
}
