//! A user's membership of a conversation, and how what is told of it in any order becomes one entry. Pure.

use std::collections::BTreeMap;

use protocol::ConversationId;
use serde::{Deserialize, Serialize};

/// One user's membership of one conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// `seq` of the event that made him a member: the first that he gets. The same as `until` where that is all that is
    /// known: he gets the removal alone, so that nobody is shown too much.
    pub since: u64,
    /// `seq` of the event that removed him: the last that he gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Membership {
    /// The `seq` of the newest change that this entry knows of.
    pub fn known(&self) -> u64 {
        self.until.unwrap_or(self.since)
    }

    /// The changes that it tells of: `seq`, and whether he joined with it.
    fn changes(&self) -> impl Iterator<Item = (u64, bool)> + use<> {
        let joined = Some((self.since, true)).filter(|it| self.until != Some(it.0));
        joined.into_iter().chain(self.until.map(|until| (until, false)))
    }
}

/// What the directory holds of one user and conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The membership as it is, or was last.
    #[serde(flatten)]
    pub membership: Membership,
    /// Earlier ones, oldest first: first and last `seq` that he got. Only the last [`PAST_MOST`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<(u64, u64)>,
}

/// Memberships of one user and conversation that are remembered besides the last one.
pub const PAST_MOST: usize = 16;

impl Entry {
    /// An entry of one membership.
    pub fn of(membership: &Membership) -> Self {
        Self {
            membership: membership.clone(),
            past: Vec::new(),
        }
    }

    /// This entry with what else is told. Each removal ends the membership that began last before it, so that what is told
    /// late fills a gap, or shows that there is one. An earlier membership whose end has not been told is left out.
    #[must_use]
    pub fn with(&self, told: &Membership) -> Self {
        let id = &told.conversation_id;
        let past = self.past.iter().map(|(since, until)| Membership {
            conversation_id: id.clone(),
            since: *since,
            until: Some(*until),
        });
        let known = [self.membership.clone(), told.clone()].into_iter().chain(past);
        let changes: BTreeMap<u64, bool> = known.flat_map(|it| it.changes()).collect();
        let (mut spans, mut since) = (Vec::new(), None);
        for (seq, joined) in changes {
            if joined {
                since = Some(seq);
            } else {
                spans.push((since.take().unwrap_or(seq), seq));
            }
        }
        let (since, until) = match (since, spans.last()) {
            (None, Some((since, until))) => (*since, Some(*until)),
            (since, _) => (since.unwrap_or(told.since), None),
        };
        spans.truncate(spans.len() - usize::from(until.is_some()));
        spans.drain(..spans.len().saturating_sub(PAST_MOST));
        Self {
            membership: Membership {
                conversation_id: id.clone(),
                since,
                until,
            },
            past: spans,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// First and last `seq` of a membership.
    type Span = (u64, Option<u64>);

    fn membership(since: u64, until: Option<u64>) -> Membership {
        Membership {
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            since,
            until,
        }
    }

    /// The entry that is left by what is told in this order.
    fn told(all: &[Span]) -> Entry {
        let all: Vec<Membership> = all.iter().map(|it| membership(it.0, it.1)).collect();
        all[1..].iter().fold(Entry::of(&all[0]), |entry, it| entry.with(it))
    }

    fn facts(entry: &Entry) -> (Span, &[(u64, u64)]) {
        ((entry.membership.since, entry.membership.until), &entry.past)
    }

    #[test]
    fn who_comes_again_keeps_what_he_had_before() {
        let gone = told(&[(1, None), (1, Some(4))]);
        let again = gone.with(&membership(7, None));
        assert_eq!(facts(&gone), ((1, Some(4)), &[][..]));
        assert_eq!(facts(&again), ((7, None), &[(1, 4)][..]));
        let text = serde_json::to_string(&again).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), again);
    }

    #[test]
    fn a_removal_that_is_told_after_he_has_come_again_is_kept() {
        let late = told(&[(1, None), (7, None), (1, Some(4))]);
        assert_eq!(facts(&late), ((7, None), &[(1, 4)][..]));
    }

    #[test]
    fn of_one_removal_told_with_and_without_a_start_the_start_is_kept() {
        assert_eq!(facts(&told(&[(9, Some(9)), (1, Some(9))])), ((1, Some(9)), &[][..]));
        assert_eq!(facts(&told(&[(1, Some(9)), (9, Some(9))])), ((1, Some(9)), &[][..]));
    }

    #[test]
    fn a_membership_does_not_reach_over_a_time_in_which_he_was_none() {
        let joined = told(&[(1, None), (9, Some(9)), (4, Some(4))]);
        assert_eq!(facts(&joined), ((9, Some(9)), &[(1, 4)][..]));
        let whole = joined.with(&membership(7, None));
        assert_eq!(facts(&whole), ((7, Some(9)), &[(1, 4)][..]));
    }

    #[test]
    fn only_the_last_of_many_are_kept() {
        let all: Vec<_> = (0..40).map(|n| (n * 10 + 1, Some(n * 10 + 5))).collect();
        let entry = told(&all);
        assert_eq!((entry.past.len(), entry.past[0]), (PAST_MOST, (231, 235)));
    }

    /// Each membership of a user, the last perhaps not ended.
    fn memberships() -> impl Strategy<Value = Vec<Span>> {
        let lengths = proptest::collection::vec((1..5_u64, 1..5_u64), 1..8);
        (lengths, any::<bool>()).prop_map(|(lengths, ended)| {
            let mut seq = 0;
            let mut all: Vec<Span> = Vec::new();
            for (pause, length) in lengths {
                all.push((seq + pause, Some(seq + pause + length)));
                seq += pause + length;
            }
            if let Some(last) = all.last_mut().filter(|_| !ended) {
                last.1 = None;
            }
            all
        })
    }

    /// All that is told of them: each start, each end with its start where `by_writers`, and without.
    fn tellings(all: &[Span], by_writers: bool) -> Vec<Span> {
        let starts = all.iter().map(|it| (it.0, None));
        let ends = all.iter().filter_map(|it| it.1).map(|it| (it, Some(it)));
        let whole = all.iter().copied().filter(|it| by_writers && it.1.is_some());
        starts.chain(ends).chain(whole).collect()
    }

    proptest! {
        #[test]
        fn in_whatever_order_and_however_often_it_is_told_it_comes_to_the_same(
            all in memberships(),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut left = tellings(&all, true);
            let again = left.clone();
            let mut shuffled: Vec<_> = order.iter().map(|it| *it.get(&again)).collect();
            for at in &order {
                if !left.is_empty() {
                    shuffled.push(left.swap_remove(at.index(left.len())));
                }
            }
            let entry = told(&shuffled);
            let past: Vec<_> = all[..all.len() - 1].iter().map(|it| (it.0, it.1.unwrap())).collect();
            prop_assert_eq!(facts(&entry), (all[all.len() - 1], &past[..]));
        }

        #[test]
        fn without_its_writers_nobody_is_shown_more_than_was_his(
            all in memberships(),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let mut left = tellings(&all, false);
            let mut shuffled = Vec::new();
            for at in &order {
                if !left.is_empty() {
                    shuffled.push(left.swap_remove(at.index(left.len())));
                }
            }
            let entry = told(&shuffled);
            let last = (entry.membership.since, entry.membership.until);
            let spans = entry.past.iter().map(|it| (it.0, Some(it.1))).chain([last]);
            for (since, until) in spans {
                let within = |it: &&Span| it.0 <= since && it.1 == until;
                prop_assert!(all.iter().find(within).is_some(), "{since} to {until:?}");
            }
        }
    }
}
