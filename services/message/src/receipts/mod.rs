//! Receipts: watermarks that only move forward, one stored entry for each conversation, user and kind.
//!
//! A burst of reads is a handful of writes: while one is under way only the highest of the others waits, and in large
//! conversations the next one waits for a while. There an entry names who is to be told; in all others it is everybody.

mod logged;
mod origin;
mod ring;
mod senders;
mod tail;
mod told;
mod watermark;

use std::sync::Arc;
use std::time::Duration;

use bus::subjects::{self, Lane};
use bus::{LogError, Record};
use protocol::envelope::{self, Extras, Told};
use protocol::rpc::{Confirm, ReceiptKind};
use protocol::server_frame::Receipt;
use protocol::{ConversationId, Refusal, ServerFrame, ServerId, Timestamp, UserId, limits};
use tokio::time::Instant;

pub(crate) use senders::Senders;

use crate::conversation::load::Freshness;
use crate::conversation::{Conversation, State};
use crate::send::rules::no_such_message;
use crate::service::{Service, unavailable};
use origin::Made;
use watermark::{Known, Watermark};

const DEADLINE: Duration = Duration::from_secs(2);
const CACHE_MOST: u64 = 100_000;
const ATTEMPTS: usize = 16;

type Key = (ConversationId, UserId, ReceiptKind);

/// The watermarks last seen by this replica.
#[derive(Debug)]
pub(crate) struct Watermarks {
    known: moka::sync::Cache<Key, Arc<Watermark>>,
    made: Made,
}

impl Watermarks {
    pub(crate) fn new() -> Self {
        Self {
            known: moka::sync::Cache::new(CACHE_MOST),
            made: Made::default(),
        }
    }

    /// Forgets all: the stream was made anew.
    pub(crate) fn forget_all(&self) {
        self.known.invalidate_all();
    }
}

/// What an asked-for watermark comes to: held at the head, and nothing where it is below the first event.
fn clamp(asked: u64, head: u64) -> Option<u64> {
    Some(asked.min(head)).filter(|seq| *seq > 0)
}

/// A watermark to be moved, of a member of the conversation.
struct Move<'a> {
    conversation: &'a Conversation,
    state: &'a State,
    user: &'a UserId,
    kind: ReceiptKind,
    seq: u64,
    arrived: (Timestamp, Instant),
}

impl Move<'_> {
    /// The time, by the clock that told when the request came.
    fn now(&self) -> Timestamp {
        let (at, instant) = self.arrived;
        let passed = i64::try_from(instant.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(at.as_millis().saturating_add(passed))
    }

    /// Whether only those are told who sent what it covers.
    fn is_large(&self) -> bool {
        self.state.members.len() > limits::RECEIPTS_TO_ALL
    }
}

impl Service {
    /// Moves a watermark forward; one that is not ahead of the known one is ignored. Which `seq` was confirmed, if the
    /// request wants to know.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn confirm(&self, request: Confirm, now: Timestamp) -> Result<Option<u64>, Refusal> {
        let arrived = (now, Instant::now());
        let done = tokio::time::timeout(DEADLINE, self.confirm_within(request, arrived)).await;
        done.unwrap_or_else(|_| Err(Refusal::unavailable("no answer in time: send it again")))
    }

    async fn confirm_within(&self, request: Confirm, arrived: (Timestamp, Instant)) -> Result<Option<u64>, Refusal> {
        let id = ConversationId::parse(&request.conversation_id).ok_or_else(Refusal::no_conversation)?;
        let named = match &request.server_id {
            None => None,
            Some(text) => {
                let named = ServerId::parse(text).filter(|it| it.conversation_id == id);
                Some(named.ok_or_else(no_such_message)?.seq)
            }
        };
        let asked = named
            .or(request.seq)
            .ok_or_else(|| Refusal::invalid("missing field `seq` or `server_id`"))?;
        let conversation = self.conversations.open(&id);
        let freshness = if request.doubtful {
            Freshness::Fresh
        } else {
            Freshness::Cached
        };
        let mut state = self.state_for(&conversation, &request.user_id, freshness).await?;
        if asked > state.head.seq && freshness == Freshness::Cached {
            state = self
                .state_for(&conversation, &request.user_id, Freshness::Fresh)
                .await?;
        }
        let visible = state.visible_from(&request.user_id)..=state.head.seq;
        if named.is_some_and(|seq| !visible.contains(&seq)) {
            return Err(no_such_message());
        }
        let Some(seq) = clamp(asked, state.head.seq) else {
            return Ok(None);
        };
        let key = (id, request.user_id, request.kind);
        let watermark = self.watermarks.known.get_with(key.clone(), Arc::default);
        let (_, user, kind) = &key;
        let step = Move {
            conversation: &conversation,
            state: &state,
            user,
            kind: *kind,
            seq,
            arrived,
        };
        self.move_forward(&watermark, &step).await?;
        Ok(request.tell.then_some(seq))
    }

    async fn move_forward(&self, watermark: &Watermark, step: &Move<'_>) -> Result<(), Refusal> {
        watermark.want(step.seq);
        let mut slot = watermark.known.lock().await;
        // Taken out, so that an unanswered write leaves nothing behind that may be wrong.
        let known = slot.take();
        *slot = Some(self.raise(watermark, known, step).await?);
        Ok(())
    }

    /// Writes the highest wanted watermark unless the log has reached what this one is moved to.
    async fn raise(&self, watermark: &Watermark, known: Option<Known>, step: &Move<'_>) -> Result<Known, Refusal> {
        let subject = subjects::receipt(&step.conversation.id, step.user, step.kind);
        let mut known = match known {
            Some(known) => known,
            None => self.known_watermark(&subject, step).await?,
        };
        for _ in 0..ATTEMPTS {
            if step.is_large() && watermark.target(&known, step.seq).is_some() {
                tokio::time::sleep(known.rest(step.now())).await;
            }
            let Some(target) = watermark.target(&known, step.seq) else {
                return Ok(known);
            };
            if step.kind == ReceiptKind::Delivered && self.is_read(step, target).await? {
                // Who has read it has got it: told now, it would seem to go backwards.
                return Ok(known);
            }
            let now = step.now();
            let to = self.told(step, &known, target).await;
            let to = to.map_err(|error| unavailable(&error))?;
            let payload = self.receipt(step, target, now, to.as_deref());
            match self.log.append(subject.clone(), None, known.position, payload).await {
                Ok(appended) => {
                    metrics::counter!("parley_receipts_written_total").increment(1);
                    return Ok(Known::new(target, appended.position, now, to.unwrap_or_default()));
                }
                Err(LogError::Conflict) => {
                    let last = self.log.newest(Lane::Receipts, &subject).await;
                    known = known.after_conflict(self.watermark_of(last, step).await?);
                }
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Err(unavailable(&"the watermark kept changing"))
    }

    /// Whether the user has read up to there. The newest is not asked for: nothing read is beyond it.
    async fn is_read(&self, step: &Move<'_>, seq: u64) -> Result<bool, Refusal> {
        if seq >= step.state.head.seq {
            return Ok(false);
        }
        let subject = subjects::receipt(&step.conversation.id, step.user, ReceiptKind::Read);
        let last = self.log.last(Lane::Receipts, &subject).await;
        let last = last.map_err(|error| unavailable(&error))?;
        Ok(last.is_some_and(|last| Known::of(last.position, &last.payload).seq >= seq))
    }

    /// Whom the entry of a watermark that moves from `known` to `target` names; nothing where everybody is told.
    async fn told(&self, step: &Move<'_>, known: &Known, target: u64) -> Result<Option<Vec<Told>>, LogError> {
        if !step.is_large() {
            return Ok(None);
        }
        let after = known.seq.max(step.state.visible_from(step.user).saturating_sub(1));
        let senders = self.senders_of(step.conversation, step.state, step.user, after, target);
        let mut told = told::told(senders.await?, &known.told, known.position);
        told.retain(|it| step.state.members.contains(&it.0));
        Ok(Some(told))
    }

    /// The entry; of whom it is to name, as many as fit.
    fn receipt(&self, step: &Move<'_>, seq: u64, timestamp: Timestamp, mut to: Option<&[Told]>) -> Vec<u8> {
        let receipt = Receipt {
            conversation_id: step.conversation.id.clone(),
            user_id: step.user.clone(),
            seq,
            timestamp,
        };
        let frame = match step.kind {
            ReceiptKind::Delivered => ServerFrame::MessageDelivered(receipt),
            ReceiptKind::Read => ServerFrame::MessageRead(receipt),
        };
        loop {
            let extras = Extras {
                to,
                ..Extras::default()
            };
            let payload = envelope::encode_with(&frame, 0, &extras);
            match to {
                Some(all) if payload.len() > self.log.bus().payload_bytes_most() && !all.is_empty() => {
                    to = Some(&all[..all.len() / 2]);
                }
                _ => return payload,
            }
        }
    }

    async fn known_watermark(&self, subject: &str, step: &Move<'_>) -> Result<Known, Refusal> {
        self.watermark_of(self.log.last(Lane::Receipts, subject).await, step)
            .await
    }

    async fn watermark_of(&self, last: Result<Option<Record>, LogError>, step: &Move<'_>) -> Result<Known, Refusal> {
        if let Some(last) = last.map_err(|error| unavailable(&error))? {
            return Ok(Known::of(last.position, &last.payload));
        }
        Ok(Known {
            seq: self.lost_watermark(step.state, step.user, step.kind).await?,
            ..Known::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_is_held_at_the_head_and_below_the_first_event_is_none() {
        assert_eq!(clamp(5, 9), Some(5));
        assert_eq!(clamp(u64::MAX, 9), Some(9));
        assert_eq!(clamp(0, 9), None);
    }
}
