//! Receipts: watermarks that only move forward, one stored entry for each conversation, user and kind.
//!
//! A burst of reads is a handful of writes: while one is under way only the highest of the others waits. Who is told
//! of a receipt is for the connection service to decide.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::subjects::{self, Lane};
use bus::{LogError, Record};
use protocol::rpc::{Confirm, ReceiptKind};
use protocol::server_frame::Receipt;
use protocol::{ConversationId, Refusal, ServerFrame, ServerId, Timestamp, UserId, envelope};

use crate::conversation::load::Freshness;
use crate::event::Event;
use crate::send::rules::no_such_message;
use crate::service::{Service, unavailable};

const DEADLINE: Duration = Duration::from_secs(2);
const CACHE_MOST: u64 = 100_000;
const ATTEMPTS: usize = 16;

type Key = (ConversationId, UserId, ReceiptKind);

/// The watermarks last seen by this replica.
#[derive(Debug)]
pub(crate) struct Watermarks(moka::sync::Cache<Key, Arc<Watermark>>);

#[derive(Debug, Default)]
struct Watermark {
    /// The highest that anybody here waits for.
    wanted: AtomicU64,
    /// What the log is known to hold; its lock is held around a write.
    known: tokio::sync::Mutex<Option<Known>>,
}

/// A watermark in the log, and the position of its entry: 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    seq: u64,
    position: u64,
}

impl Watermarks {
    pub(crate) fn new() -> Self {
        Self(moka::sync::Cache::new(CACHE_MOST))
    }

    /// Forgets all: the stream was made anew.
    pub(crate) fn forget_all(&self) {
        self.0.invalidate_all();
    }
}

/// What an asked-for watermark comes to: held at the head, and nothing where it is below the first event.
fn clamp(asked: u64, head: u64) -> Option<u64> {
    Some(asked.min(head)).filter(|seq| *seq > 0)
}

impl Service {
    /// Moves a watermark forward; one that is not ahead of the known one is ignored.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn confirm(&self, request: Confirm, now: Timestamp) -> Result<(), Refusal> {
        let done = tokio::time::timeout(DEADLINE, self.confirm_within(request, now)).await;
        done.unwrap_or_else(|_| Err(Refusal::unavailable("no answer in time: send it again")))
    }

    async fn confirm_within(&self, request: Confirm, now: Timestamp) -> Result<(), Refusal> {
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
        let mut state = self
            .state_for(&conversation, &request.user_id, Freshness::Cached)
            .await?;
        if asked > state.head.seq {
            state = self
                .state_for(&conversation, &request.user_id, Freshness::Fresh)
                .await?;
        }
        if named.is_some_and(|seq| seq > state.head.seq) {
            return Err(no_such_message());
        }
        let Some(seq) = clamp(asked, state.head.seq) else {
            return Ok(());
        };
        let key = (id, request.user_id, request.kind);
        let watermark = self.watermarks.0.get_with(key.clone(), Arc::default);
        watermark.wanted.fetch_max(seq, Ordering::Relaxed);
        let mut known = watermark.known.lock().await;
        // Taken out, so that an unanswered write leaves nothing behind that may be wrong.
        let before = known.take();
        let after = self
            .raise(&key, before, seq, &watermark.wanted, now)
            .await
            .map_err(|error| unavailable(&error))?;
        *known = Some(after);
        Ok(())
    }

    /// Writes the highest wanted watermark unless the log has reached `seq`.
    async fn raise(
        &self,
        (id, user, kind): &Key,
        known: Option<Known>,
        seq: u64,
        wanted: &AtomicU64,
        now: Timestamp,
    ) -> Result<Known, LogError> {
        let subject = subjects::receipt(id, user, *kind);
        let mut known = match known {
            Some(known) => known,
            None => self.known_watermark(&subject).await?,
        };
        for _ in 0..ATTEMPTS {
            if known.seq >= seq {
                return Ok(known);
            }
            let target = wanted.load(Ordering::Relaxed).max(seq);
            let receipt = Receipt {
                conversation_id: id.clone(),
                user_id: user.clone(),
                seq: target,
                timestamp: now,
            };
            let frame = match kind {
                ReceiptKind::Delivered => ServerFrame::MessageDelivered(receipt),
                ReceiptKind::Read => ServerFrame::MessageRead(receipt),
            };
            let payload = envelope::encode(&frame, 0);
            match self.log.append(subject.clone(), None, known.position, payload).await {
                Ok(appended) => {
                    return Ok(Known {
                        seq: target,
                        position: appended.position,
                    });
                }
                Err(LogError::Conflict) => {
                    let fresh = self.known_watermark(&subject).await?;
                    // In a stream made anew the watermark goes on from what is known here.
                    known = Known {
                        seq: fresh.seq.max(if fresh.position == 0 { known.seq } else { 0 }),
                        ..fresh
                    };
                }
                Err(error) => return Err(error),
            }
        }
        Err(LogError::Away("the watermark kept changing".into()))
    }

    async fn known_watermark(&self, subject: &str) -> Result<Known, LogError> {
        let last: Option<Record> = self.log.last(Lane::Receipts, subject).await?;
        let seq = |it: &Record| Event::decode(&it.payload).map_or(0, |event| event.seq());
        Ok(last.map_or(Known { seq: 0, position: 0 }, |it| Known {
            seq: seq(&it),
            position: it.position,
        }))
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
