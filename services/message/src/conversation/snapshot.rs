//! All members and settings as an entry of the log holds them, so that a reader need not go further back.

use protocol::http::{HistoryAccess, Role};
use protocol::server_frame::ConversationType;
use protocol::{ConversationId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::members::Member;
use super::state::Settings;
use super::{Head, State};

/// Bytes of an entry around its snapshot: a frame with the longest name, and what else the envelope of a change without
/// new members holds.
const ENTRY_BYTES: usize = 4 * 1024;

/// The JSON of a snapshot: part of the stored format.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    #[serde(rename = "type")]
    conversation_type: ConversationType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "HistoryAccess::is_all")]
    history: HistoryAccess,
    created_at: Timestamp,
    /// Each with his role and `since`, in the order in which they joined.
    members: Vec<(UserId, Role, u64)>,
}

/// The snapshot of a state, as JSON text.
pub(crate) fn encode(state: &State) -> String {
    let snapshot = Snapshot {
        conversation_type: state.conversation_type,
        name: state.name.clone(),
        history: state.history,
        created_at: state.created_at,
        members: state
            .members
            .iter()
            .map(|it| (it.user_id.clone(), it.role, it.since))
            .collect(),
    };
    // Plain data: serde_json has no way to fail on it.
    serde_json::to_string(&snapshot).unwrap_or_default()
}

/// Whether the snapshot of a state fits an entry of at most so many bytes. Where it does not, changes would pile up with
/// no end to the way back; and a list of all members, which is shorter, might not fit an answer.
pub(crate) fn fits(state: &State, bytes_most: usize) -> bool {
    encode(state).len() + ENTRY_BYTES <= bytes_most
}

/// The state that an entry at `head` tells; `None` for a snapshot that this version cannot read.
pub(super) fn decode(text: &str, id: ConversationId, head: Head) -> Option<State> {
    let snapshot: Snapshot = serde_json::from_str(text).ok()?;
    let settings = Settings {
        conversation_type: snapshot.conversation_type,
        name: snapshot.name,
        history: snapshot.history,
        created_at: snapshot.created_at,
    };
    let member = |(user_id, role, since)| Member { user_id, role, since };
    let members = snapshot.members.into_iter().map(member).collect();
    let mut state = State::of(id, settings, members, head);
    state.stand_at(head.position, true);
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::state::tests::{ann_and_bob, user};

    #[test]
    fn a_snapshot_tells_the_whole_state() {
        let mut state = ann_and_bob();
        state.name = Some("n \"é\"".into());
        state.history = HistoryAccess::Joined;
        std::sync::Arc::make_mut(&mut state.members).set_role(&user("bob"), Role::Admin);
        assert_eq!(decode(&encode(&state), state.id.clone(), state.head), Some(state));
    }
}
