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
/// So many are read before they are written: they may be a repetition, and reading a thousand is one request.
const MANY: usize = 16;

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
    if entries.len() > MANY {
        return directory::store_missing(log, &entries).await;
    }
    futures_util::stream::iter(entries)
        .map(|(user, membership)| {
            let log = log.clone();
            async move { directory::store(&log, &user, &membership).await }
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await
}

/// Stores what events say of memberships, without knowing the members before them: the safety net of whoever wrote them
/// and was killed before he could. Nearly always it is all there already.
///
/// # Errors
/// NATS is away; storing it again is harmless.
pub(crate) async fn store_events(log: &Log, events: &[Event]) -> Result<(), LogError> {
    let all: Vec<_> = events.iter().flat_map(told).collect();
    directory::store_missing(log, &all).await
}

/// What an event alone tells of memberships: of whoever left not since when he was a member.
fn told(event: &Event) -> Vec<(UserId, Membership)> {
    let told = |effect: Effect<'_>| {
        let until = match effect {
            Effect::Joined { .. } => None,
            Effect::Left { .. } => Some(event.seq()),
            Effect::Role { .. } => return None,
        };
        let membership = Membership {
            conversation_id: event.conversation_id().clone(),
            since: event.seq(),
            until,
        };
        Some((effect.user().clone(), membership))
    };
    event.effects().into_iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::server_frame::{MemberAdded, MemberRemoved};

    use super::*;
    use crate::conversation::state::tests::{ann_and_bob, user};

    #[test]
    fn an_event_alone_tells_of_a_removal_and_not_since_when_he_was_there() {
        let removed = MemberRemoved {
            conversation_id: ann_and_bob().id,
            seq: 9,
            user_ids: vec![user("eve")],
            by: user("eve"),
            owner: Some(user("bob")),
            timestamp: Timestamp::from_millis(1),
        };
        let told = told(&Event::Removed(removed, 2));
        let [(who, it)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!((who, it.since, it.until), (&user("eve"), 9, Some(9)));
    }

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
