//! Each entry of a partition against its document; and that the log itself is dense.

use std::collections::HashMap;

use bus::Lane;
use bus::streams::StreamState;
use protocol::ConversationId;

use super::{Run, Track, Tracks};
use crate::event::Event;

impl Run<'_> {
    /// Compares a partition's entries and says what it holds of each conversation.
    pub(super) async fn compare_entries(&mut self, lane: Lane, state: StreamState) -> anyhow::Result<Tracks> {
        let (mut tracks, mut from) = (Tracks::new(), state.first);
        while let Some((records, next)) = self.read(lane, from, state.last).await? {
            from = next;
            let mut events = Vec::with_capacity(records.len());
            for record in &records {
                let Some(event) = self.decode(lane, record) else {
                    continue;
                };
                if let Some(expected) = follow(&mut tracks, &event, record.position) {
                    let (id, seq) = (event.conversation_id().as_str(), event.seq());
                    self.problem(format!(
                        "not dense: conversation {id} has seq {seq} in the log after {}",
                        expected - 1
                    ));
                }
                if event.is_stored() {
                    events.push((record.position, event));
                }
            }
            self.compare_batch(lane, events).await?;
        }
        Ok(tracks)
    }

    async fn compare_batch(&mut self, lane: Lane, events: Vec<(u64, Event)>) -> anyhow::Result<()> {
        let keys: Vec<(ConversationId, u64)> = events
            .iter()
            .map(|(_, it)| (it.conversation_id().clone(), it.seq()))
            .collect();
        let mut stored: HashMap<(ConversationId, u64), _> = HashMap::new();
        for document in self.store.events(&keys).await? {
            let key = document.place();
            stored.insert(key, (document.is_doubled(), document.into_event()));
        }
        for ((position, event), key) in events.into_iter().zip(keys) {
            self.compare_change(&event).await?;
            self.outcome.entries += 1;
            let place = format!(
                "conversation {} seq {} ({} position {position})",
                key.0.as_str(),
                key.1,
                lane.stream()
            );
            match stored.remove(&key) {
                None => {
                    self.problem(format!("missing: {place}"));
                    self.repair(&event).await?;
                }
                Some((_, it)) if it.as_ref() != Some(&event) => {
                    self.problem(format!("differs: {place}"));
                    if self.repair {
                        self.store.remove_event(&key.0, key.1).await?;
                    }
                    self.repair(&event).await?;
                }
                // No difference, and nothing to repair: both are in the log, clients have been sent both. It takes a
                // client that repeats an id without saying so after the duplicate window.
                Some((true, _)) => (self.report)(format!("note: {place}: its client_id is logged more than once")),
                Some((false, _)) => {}
            }
        }
        Ok(())
    }
}

/// Takes an entry in. `Some` with the `seq` that was due where another one came.
fn follow(tracks: &mut Tracks, event: &Event, position: u64) -> Option<u64> {
    let seq = event.seq();
    let track = tracks.entry(event.conversation_id().clone()).or_insert_with(|| Track {
        // What comes before the log's start is not judged.
        last_seq: seq.saturating_sub(1),
        last_timestamp: event.timestamp(),
        last_position: 0,
        last_message: None,
        last_message_position: 0,
    });
    let due = track.last_seq + 1;
    track.last_seq = track.last_seq.max(seq);
    track.last_timestamp = event.timestamp();
    track.last_position = position;
    if matches!(event, Event::Message(_)) {
        (track.last_message, track.last_message_position) = (Some(seq), position);
    }
    (seq != due).then_some(due)
}

#[cfg(test)]
mod tests {
    use protocol::http::HistoryAccess;
    use protocol::server_frame::{ConversationCreated, ConversationType};
    use protocol::{Timestamp, UserId};

    use super::*;

    fn event(seq: u64) -> Event {
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        Event::Created(ConversationCreated {
            conversation_id: ConversationId::direct(&ann, &bob),
            seq,
            conversation_type: ConversationType::Direct,
            name: None,
            history: HistoryAccess::All,
            members: vec![ann.clone(), bob],
            by: ann,
            timestamp: Timestamp::from_millis(0),
        })
    }

    #[test]
    fn a_log_may_start_anywhere_but_has_no_gap_and_no_repeat() {
        let mut tracks = Tracks::new();
        assert_eq!(follow(&mut tracks, &event(7), 1), None);
        assert_eq!(follow(&mut tracks, &event(8), 2), None);
        assert_eq!(follow(&mut tracks, &event(10), 3), Some(9));
        assert_eq!(follow(&mut tracks, &event(10), 4), Some(11));
    }
}
