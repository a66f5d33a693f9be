//! Handles of what is recorded with each frame or delivery, so that no name is looked up there, and what is counted while
//! something is held.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, counter, gauge};
use protocol::Timestamp;
use protocol::server_frame::ResyncReason;
use telemetry::{Latency, Samples};
use tokio::time::Instant;

use super::{ACKS_WEBSOCKET, DELIVERIES_WEBSOCKET};
use crate::hub::event::{Event, Kind};

/// See the module.
#[derive(Debug)]
pub struct Held {
    /// `parley_frames_in_total`
    pub frames_in: Counter,
    answers_out: Counter,
    events_out: Counter,
    signals_out: Counter,
    /// `parley_connections`
    pub connections: Gauge,
    /// `parley_sessions`
    pub sessions: Gauge,
    live: Gauge,
    catching_up: Gauge,
    /// `parley_receipts_coalesced_total`
    pub receipts_coalesced: Counter,
}

/// Made at the first use: after the metrics were declared.
pub static HELD: LazyLock<Held> = LazyLock::new(|| Held {
    frames_in: counter!("parley_frames_in_total"),
    answers_out: counter!("parley_frames_out_total", "kind" => "answer"),
    events_out: counter!("parley_frames_out_total", "kind" => "event"),
    signals_out: counter!("parley_frames_out_total", "kind" => "signal"),
    connections: gauge!("parley_connections"),
    sessions: gauge!("parley_sessions"),
    live: gauge!("parley_sessions_live"),
    catching_up: gauge!("parley_sessions_catching_up"),
    receipts_coalesced: counter!("parley_receipts_coalesced_total", "at" => "session"),
});

/// What one write to a WebSocket holds; counted when it is dropped.
#[derive(Debug, Default)]
pub struct Written {
    /// Answers to the client's own frames, and what else is only for it.
    pub answers: u64,
    /// Live signals.
    pub signals: u64,
    events: u64,
    /// Read once a write.
    now: Option<Timestamp>,
    delivered: Samples,
}

impl Written {
    /// An event went out. `live`: not read by a replay.
    pub fn event(&mut self, event: &Event, live: bool) {
        self.events += 1;
        if live && matches!(event.kind, Kind::Message(..)) {
            let now = self.now.get_or_insert_with(Timestamp::now);
            self.delivered.add_ms(now.as_millis() - event.timestamp.as_millis());
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let held = &*HELD;
        for (count, counter) in [
            (self.answers, &held.answers_out),
            (self.events, &held.events_out),
            (self.signals, &held.signals_out),
        ] {
            if count > 0 {
                counter.increment(count);
            }
        }
        if self.now.is_some() {
            DELIVERIES_WEBSOCKET.record_all(&mut self.delivered);
        }
    }
}

/// A message was handed to something other than a WebSocket. `live`: not read by a replay.
pub fn delivered(latency: &Latency, event: &Event, live: bool) {
    if live && matches!(event.kind, Kind::Message(..)) {
        let took_ms = Timestamp::now().as_millis() - event.timestamp.as_millis();
        latency.record(std::time::Duration::from_millis(u64::try_from(took_ms).unwrap_or(0)));
    }
}

/// Acks of sends that came at these times have been handed to the socket.
pub fn acked(came: Vec<Instant>) {
    if !came.is_empty() {
        let now = Instant::now();
        came.iter()
            .for_each(|at| ACKS_WEBSOCKET.record(now.saturating_duration_since(*at)));
    }
}

/// A client was told to read everything anew.
pub fn resync(reason: ResyncReason) {
    let reason = match reason {
        ResyncReason::BadCursor => "bad_cursor",
        ResyncReason::Expired => "expired",
        ResyncReason::OtherLog => "other_log",
    };
    counter!("parley_resyncs_total", "reason" => reason).increment(1);
    counter!("parley_replays_total", "tier" => "resync").increment(1);
}

/// An event did not follow the one before it.
pub fn gap(tier: &'static str, event: &Event, expected: u64) {
    counter!("parley_gaps_detected_total", "tier" => tier).increment(1);
    tracing::error!(
        tier,
        conversation = event.conversation_id.as_str(),
        seq = event.seq,
        expected,
        position = event.position,
        "an event does not follow the one before it: see docs/runbooks"
    );
}

/// Counts a session as live or catching up, for as long as it is held.
#[derive(Debug)]
pub struct Standing {
    live: bool,
}

impl Standing {
    /// As a session begins.
    pub fn behind() -> Self {
        HELD.catching_up.increment(1.0);
        Self { live: false }
    }

    /// Notes whether it is live now.
    pub fn set(&mut self, live: bool) {
        if self.live != live {
            self.live = live;
            let (up, down) = if live {
                (&HELD.live, &HELD.catching_up)
            } else {
                (&HELD.catching_up, &HELD.live)
            };
            up.increment(1.0);
            down.decrement(1.0);
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let gauge = if self.live { &HELD.live } else { &HELD.catching_up };
        gauge.decrement(1.0);
    }
}
