//! Who is told of a receipt in a large conversation: whoever sent what it covers, instead of everybody.
//!
//! An entry replaces the one before it. Whoever was away when that one was shown must still learn of it from this one,
//! so the newest of those whom earlier steps were for are named along.

use std::collections::HashSet;

use protocol::UserId;
use protocol::envelope::Told;

/// Most of those who are named for earlier steps.
pub(super) const EARLIER_MOST: usize = 16;

/// Whom an entry names whose step covers messages of `senders` (newest first), and which replaces an entry at `position`
/// that named `before`. Newest first.
pub(super) fn told(senders: Vec<UserId>, before: &[Told], position: u64) -> Vec<Told> {
    let named: HashSet<&UserId> = senders.iter().collect();
    let earlier: Vec<Told> = before
        .iter()
        .filter(|it| !named.contains(&it.0))
        .take(EARLIER_MOST)
        .map(|Told(user, step)| Told(user.clone(), if *step == 0 { position } else { *step }))
        .collect();
    let now = senders.into_iter().map(|user| Told(user, 0));
    now.chain(earlier).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn user(n: u8) -> UserId {
        UserId::parse(&format!("u{n}")).unwrap()
    }

    /// Steps, each with whom it is for; nobody twice in one.
    fn steps() -> impl Strategy<Value = Vec<Vec<UserId>>> {
        let step = proptest::collection::vec(0..40_u8, 0..6).prop_map(|mut users| {
            users.sort_unstable();
            users.dedup();
            users.into_iter().map(user).collect()
        });
        proptest::collection::vec(step, 1..30)
    }

    proptest! {
        #[test]
        fn nobody_is_dropped_within_the_bound_and_nobody_else_is_named(steps in steps()) {
            let (mut entry, mut position) = (Vec::new(), 0);
            // Of each user the position of the last step that was for him, and whether he may have been dropped since.
            let mut last: HashMap<UserId, (u64, bool)> = HashMap::new();
            for (n, senders) in steps.into_iter().enumerate() {
                let replaced = position;
                position = n as u64 + 1;
                entry = told(senders.clone(), &entry, replaced);
                last.extend(senders.iter().map(|it| (it.clone(), (position, false))));
                let earlier: Vec<u64> = last.values().map(|it| it.0).filter(|it| *it != position).collect();
                for (user, (step, dropped)) in &mut last {
                    let as_new = earlier.iter().filter(|it| **it >= *step).count();
                    *dropped |= *step != position && as_new > EARLIER_MOST;
                    let expected = if *step == position { 0 } else { *step };
                    match entry.iter().find(|it| it.0 == *user) {
                        Some(found) => prop_assert_eq!(found.1, expected),
                        None => prop_assert!(*dropped, "{:?} was dropped", user),
                    }
                }
                prop_assert!(entry.iter().all(|it| last.contains_key(&it.0)));
                prop_assert!(entry.len() <= senders.len() + EARLIER_MOST);
                let named: HashSet<_> = entry.iter().map(|it| &it.0).collect();
                prop_assert_eq!(named.len(), entry.len(), "nobody is named twice");
            }
        }

        #[test]
        fn whoever_resumes_from_before_a_step_is_told_of_it_and_whoever_has_seen_it_is_not(
            steps in steps(),
            resumed in any::<prop::sample::Index>(),
        ) {
            let (mut entry, mut position) = (Vec::new(), 0);
            let (mut last, mut earlier) = (HashMap::new(), HashSet::new());
            for (n, senders) in steps.iter().enumerate() {
                let replaced = position;
                position = n as u64 + 1;
                entry = told(senders.clone(), &entry, replaced);
                for sender in senders {
                    last.insert(sender.clone(), position);
                    earlier.insert(sender.clone());
                }
            }
            let seen = resumed.index(steps.len() + 1) as u64;
            for Told(user, step) in &entry {
                let shown = *step == 0 && position > seen || *step > seen;
                prop_assert_eq!(shown, last[user] > seen);
            }
            if earlier.len() <= EARLIER_MOST {
                prop_assert_eq!(entry.len(), earlier.len());
            }
        }
    }
}
