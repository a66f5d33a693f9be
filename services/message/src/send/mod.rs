//! Sending a message: rules, idempotency, and one append to the log.
//!
//! A first send reads at most the log and never MongoDB. The conversation's lock is held only around the log.

mod age;
mod original;
mod reply;
pub(crate) mod rules;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::LogError;
use protocol::rpc::{SendMessage, Sent};
use protocol::{Refusal, Timestamp};
use rules::{Decision, Draft};

use crate::conversation::load::Freshness;
use crate::conversation::{Conversation, Head, State};
use crate::service::{Service, unavailable};

/// Time for everything, from the request's arrival; after it the outcome is unknown.
const DEADLINE: Duration = Duration::from_secs(2);
/// Conflicts after which an attempt waits a little: until then somebody else's progress is all there is to wait for.
const CONFLICTS_FREE: u32 = 3;
const PAUSE_MOST_MS: u64 = 16;

/// What has been found out about a send so far.
#[derive(Debug, Default)]
struct Checks {
    looked_up: bool,
    reply_known: bool,
}

/// How one turn at the conversation ended.
enum Turn {
    Appended { position: u64, head: Head },
    Duplicate { position: u64 },
    LookUp,
    CheckReply(u64),
}

impl Service {
    /// Sends a message that arrived at `now`.
    ///
    /// # Errors
    /// The refusal to show; after `unavailable` the outcome is unknown, and the same send may be repeated.
    pub(crate) async fn send(&self, request: SendMessage, now: Timestamp) -> Result<Sent, Refusal> {
        let started = Instant::now();
        let mut draft = rules::draft(request)?;
        // What comes of the entry belongs to this request.
        draft.traceparent = telemetry::trace::current().or(draft.traceparent);
        let sent = tokio::time::timeout(DEADLINE, self.send_draft(&draft, now, started)).await;
        let sent = sent.unwrap_or_else(|_| Err(Refusal::unavailable("no answer in time: repeat the same send")));
        let outcome = match &sent {
            Ok(sent) if sent.duplicate => "duplicate",
            Ok(_) => "appended",
            Err(refusal) => refusal.code.as_str(),
        };
        metrics::histogram!("parley_send_seconds", "outcome" => outcome).record(started.elapsed().as_secs_f64());
        sent
    }

    async fn send_draft(&self, draft: &Draft, now: Timestamp, started: Instant) -> Result<Sent, Refusal> {
        let conversation = self.conversations.open(&draft.conversation_id);
        let mut checks = Checks {
            looked_up: false,
            reply_known: draft.reply_to.is_none(),
        };
        let sent = loop {
            match self.turn(&conversation, draft, &checks, now, started).await? {
                Turn::Appended { position, head } => {
                    break Sent {
                        seq: head.seq,
                        timestamp: head.timestamp,
                        duplicate: false,
                        position,
                    };
                }
                Turn::Duplicate { position } => break self.original_at(&conversation, draft, position).await?,
                Turn::LookUp => {
                    if let Some(original) = self.look_up(&conversation, draft, started + DEADLINE).await? {
                        break original;
                    }
                    checks.looked_up = true;
                }
                Turn::CheckReply(seq) => {
                    self.check_reply(&conversation, seq).await?;
                    checks.reply_known = true;
                }
            }
        };
        if self.stream.ack == config::Ack::Stored && sent.position > 0 {
            self.wait_stored(conversation.lane, sent.position, (started + DEADLINE).into())
                .await?;
        }
        Ok(sent)
    }

    /// One turn at the conversation's lock, until something was appended or must be found out without the lock.
    async fn turn(
        &self,
        conversation: &Arc<Conversation>,
        draft: &Draft,
        checks: &Checks,
        now: Timestamp,
        started: Instant,
    ) -> Result<Turn, Refusal> {
        let mut slot = conversation.state.lock().await;
        let (mut state, mut freshness) = (self.known(conversation, &mut slot).await?, Freshness::Cached);
        let mut conflicts = 0;
        loop {
            let decision = rules::decide(&state, draft, checks.reply_known, now);
            let (head, expected, payload) = match decision {
                Decision::Refuse(_) if freshness == Freshness::Cached => {
                    state = self.refresh(conversation, &mut slot).await?;
                    freshness = Freshness::Fresh;
                    continue;
                }
                Decision::Refuse(refusal) => return Err(refusal),
                Decision::CheckReply(seq) => return Ok(Turn::CheckReply(seq)),
                Decision::Append {
                    head,
                    expected,
                    payload,
                } => (head, expected, payload),
            };
            let elapsed = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
            let clock = Timestamp::from_millis(now.as_millis().saturating_add(elapsed));
            let send = &draft.send;
            if !checks.looked_up && age::must_look_up(&send.client_id, send.retry, clock, self.stream.duplicate_window)
            {
                return Ok(Turn::LookUp);
            }
            *slot = None;
            match self.append(conversation, draft, expected, payload).await {
                Ok(appended) if appended.duplicate => {
                    metrics::counter!("parley_duplicates_total", "known_by" => "stream").increment(1);
                    *slot = Some(state);
                    return Ok(Turn::Duplicate {
                        position: appended.position,
                    });
                }
                Ok(appended) => {
                    let head = Head {
                        position: appended.position,
                        ..head
                    };
                    state.advance(head, true);
                    *slot = Some(state);
                    return Ok(Turn::Appended {
                        position: appended.position,
                        head,
                    });
                }
                Err(LogError::Conflict) => {
                    conflicts += 1;
                    *slot = Some(state);
                    state = self.after_conflict(conversation, &mut slot, conflicts).await?;
                    // Newer than before, but perhaps of a copy that is behind.
                    freshness = Freshness::Cached;
                }
                Err(error @ LogError::Refused(_)) => {
                    *slot = Some(state);
                    return Err(unavailable(&error));
                }
                // Unknown whether it was written: the slot stays empty, and the next one reads the log's end.
                Err(error) => return Err(unavailable(&error)),
            }
        }
    }

    async fn append(
        &self,
        conversation: &Conversation,
        draft: &Draft,
        expected: u64,
        payload: Vec<u8>,
    ) -> Result<bus::Appended, LogError> {
        let started = Instant::now();
        let id = rules::message_id(draft);
        let appended = self
            .log
            .append(conversation.subject.clone(), Some(&id), expected, payload)
            .await;
        metrics::histogram!("parley_append_seconds").record(started.elapsed().as_secs_f64());
        appended
    }

    /// Another replica was first: takes in what it wrote. After several conflicts in a row it waits a moment, at
    /// random, so that replicas do not keep meeting.
    pub(crate) async fn after_conflict(
        &self,
        conversation: &Arc<Conversation>,
        slot: &mut Option<State>,
        conflicts: u32,
    ) -> Result<State, Refusal> {
        metrics::counter!("parley_append_conflicts_total").increment(1);
        if conflicts > CONFLICTS_FREE {
            let most_ms = (1 << (conflicts - CONFLICTS_FREE).min(4)).min(PAUSE_MOST_MS);
            let pause = Duration::from_micros(rand::random_range(0..=most_ms * 1_000));
            tokio::time::sleep(pause).await;
        }
        let lost_at = slot.as_ref().map_or(0, |it| it.head.position);
        self.refresh_past(conversation, slot, lost_at).await
    }
}
