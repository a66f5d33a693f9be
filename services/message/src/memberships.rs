//! Memberships on their way into the directory, some at once.

use bus::directory::{self, Membership};
use bus::{Log, LogError};
use futures_util::{StreamExt, TryStreamExt};
use protocol::UserId;

use crate::conversation::State;
use crate::conversation::members::Member;
use crate::effect::Effect;
use crate::event::Event;

/// Directory entries under way at once.
const CONCURRENCY: usize = 64;

/// The entries of present members.
pub(crate) fn present<'a>(state: &State, members: impl Iterator<Item = &'a Member>) -> Vec<(UserId, Membership)> {
    let entry = |it: &Member| {
        let membership = Membership {
            conversation_id: state.id.clone(),
            since: it.since,
            until: None,
        };
        (it.user_id.clone(), membership)
    };
    members.map(entry).collect()
}

/// The entries that an event makes of the members before it.
pub(crate) fn changed(before: &State, event: &Event) -> Vec<(UserId, Membership)> {
    let mut entries = Vec::new();
    for effect in event.effects() {
        let (user, since, until) = match effect {
            Effect::Joined { user, .. } => (user, event.seq(), None),
            Effect::Left { user } => {
                let since = before.members.get(user).map_or(event.seq(), |it| it.since);
                (user, since, Some(event.seq()))
            }
            Effect::Role { .. } => continue,
        };
        let membership = Membership {
            conversation_id: before.id.clone(),
            since,
            until,
        };
        entries.push((user.clone(), membership));
    }
    entries
}

/// Stores entries.
///
/// # Errors
/// NATS is away; storing them again is harmless.
pub(crate) async fn store_all(log: &Log, entries: Vec<(UserId, Membership)>) -> Result<(), LogError> {
    futures_util::stream::iter(entries)
        .map(|(user, membership)| {
            let log = log.clone();
            async move { directory::store(&log, &user, &membership).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
}

/// Stores what an event says of memberships, without knowing the members before it: the safety net of whoever wrote it
/// and was killed before he could.
///
/// # Errors
/// NATS is away; storing it again is harmless.
pub(crate) async fn store_event(log: &Log, event: &Event) -> Result<(), LogError> {
    let (id, seq) = (event.conversation_id(), event.seq());
    let joined = |effect| match effect {
        Effect::Joined { user, .. } => Some((user.clone(), true)),
        Effect::Left { user } => Some((user.clone(), false)),
        Effect::Role { .. } => None,
    };
    let writes: Vec<(UserId, bool)> = event.effects().into_iter().filter_map(joined).collect();
    futures_util::stream::iter(writes)
        .map(|(user, joined)| {
            let (log, id) = (log.clone(), id.clone());
            async move {
                if !joined {
                    return directory::end(&log, &user, &id, seq).await;
                }
                let membership = Membership {
                    conversation_id: id,
                    since: seq,
                    until: None,
                };
                directory::store(&log, &user, &membership).await
            }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::server_frame::{MemberAdded, MemberRemoved};

    use super::*;
    use crate::conversation::state::tests::{ann_and_bob, user};

    #[test]
    fn a_membership_ends_with_the_start_that_it_had() {
        let mut state = ann_and_bob();
        let added = Event::Added(
            MemberAdded {
                conversation_id: state.id.clone(),
                seq: 5,
                user_ids: vec![user("eve")],
                by: user("ann"),
                timestamp: Timestamp::from_millis(1),
                conversation: None,
            },
            3,
        );
        let entry = |it: &(UserId, Membership)| (it.0.as_str().to_owned(), it.1.since, it.1.until);
        let of = |state: &State, event: &Event| changed(state, event).iter().map(entry).collect::<Vec<_>>();
        assert_eq!(of(&state, &added), [("eve".to_owned(), 5, None)]);
        state.apply(&added);
        let removed = MemberRemoved {
            conversation_id: state.id.clone(),
            seq: 9,
            user_ids: vec![user("eve")],
            by: user("eve"),
            owner: Some(user("bob")),
            timestamp: Timestamp::from_millis(1),
        };
        let removed = Event::Removed(removed, 2);
        assert_eq!(of(&state, &removed), [("eve".to_owned(), 5, Some(9))]);
    }
}
