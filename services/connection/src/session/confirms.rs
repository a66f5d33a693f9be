//! Receipts of a session on their way: one at a time for each watermark, and while one is under way only the highest of
//! those that follow waits. A burst of reads comes to a handful of requests.

use std::collections::HashMap;

use protocol::ConversationId;
use protocol::client_frame::Reference;
use protocol::rpc::{Confirm, ReceiptKind};

/// References of merged frames that are remembered for an error; all frames of one burst fail alike.
const REFERENCES_MOST: usize = 64;

/// Which watermark.
pub type Mark = (ConversationId, ReceiptKind);

/// A request, and the frames that it answers.
#[derive(Debug)]
pub struct Merged {
    /// What to ask for.
    pub confirm: Confirm,
    /// To be echoed where it is refused: of each frame.
    pub references: Vec<Option<Reference>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Confirms {
    /// An entry exists while a request is under way.
    waiting: HashMap<Mark, Option<Merged>>,
}

impl Confirms {
    /// Takes a frame with a `seq`. `Some`: to be asked for now.
    pub fn add(&mut self, mark: Mark, confirm: Confirm, reference: Option<Reference>) -> Option<Merged> {
        let fresh = Merged {
            confirm,
            references: vec![reference],
        };
        let Some(waiting) = self.waiting.get_mut(&mark) else {
            self.waiting.insert(mark, None);
            return Some(fresh);
        };
        match waiting {
            None => *waiting = Some(fresh),
            Some(merged) => {
                crate::metrics::HELD.receipts_coalesced.increment(1);
                merged.confirm.seq = merged.confirm.seq.max(fresh.confirm.seq);
                merged.confirm.doubtful |= fresh.confirm.doubtful;
                if merged.references.len() < REFERENCES_MOST {
                    merged.references.extend(fresh.references);
                }
            }
        }
        None
    }

    /// A request was answered. `Some`: the next one for this watermark.
    pub fn done(&mut self, mark: &Mark) -> Option<Merged> {
        let next = self.waiting.get_mut(mark).and_then(Option::take);
        if next.is_none() {
            self.waiting.remove(mark);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use protocol::UserId;

    use super::*;

    #[test]
    fn a_burst_of_reads_is_two_requests_the_second_for_the_highest() {
        let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let mark = (id.clone(), ReceiptKind::Read);
        let confirm = |seq| Confirm {
            user_id: UserId::parse("ann").unwrap(),
            conversation_id: id.as_str().into(),
            kind: ReceiptKind::Read,
            seq: Some(seq),
            server_id: None,
            doubtful: false,
            tell: true,
        };
        let mut confirms = Confirms::default();
        let mut asked = Vec::new();
        for seq in [1, 2, 9, 5] {
            asked.extend(confirms.add(mark.clone(), confirm(seq), None));
        }
        asked.extend(confirms.done(&mark));
        assert!(confirms.done(&mark).is_none());
        let seqs: Vec<_> = asked.iter().map(|it| (it.confirm.seq, it.references.len())).collect();
        assert_eq!(seqs, [(Some(1), 1), (Some(9), 3)]);
        assert!(confirms.add(mark, confirm(10), None).is_some());
    }
}
