//! The replicas of this service: which of them live, and which one speaks for a user.
//!
//! Rendezvous hashing: each replica and user give a number, the highest one owns. When a replica goes, only its users
//! change hands. Replicas that for a moment disagree on who lives say something twice or late, never wrongly.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between two beats of a replica.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// Silence after which a replica is dead to the others.
pub(crate) const DEAD: Duration = Duration::from_secs(3);

/// This replica and the others that live and are ready.
#[derive(Debug)]
pub(crate) struct Replicas {
    own: String,
    others: HashMap<String, Instant>,
}

impl Replicas {
    pub(crate) fn new(own: String) -> Self {
        Self {
            own,
            others: HashMap::new(),
        }
    }

    /// This replica's name.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// How many live, this one included.
    pub(crate) fn len(&self) -> usize {
        self.others.len() + 1
    }

    /// Whether this replica speaks for the name.
    pub(crate) fn owns(&self, name: &str) -> bool {
        let own = rank(&self.own, name);
        self.others
            .keys()
            .all(|other| (rank(other, name), other.as_str()) < (own, &self.own))
    }

    /// Another one was heard. Whether that changes who owns what.
    pub(crate) fn on_beat(&mut self, replica: String, speaks: bool, now: Instant) -> bool {
        if speaks {
            self.others.insert(replica, now).is_none()
        } else {
            self.others.remove(&replica).is_some()
        }
    }

    /// Forgets those that are silent. Whether that changes who owns what.
    pub(crate) fn sweep(&mut self, now: Instant) -> bool {
        let before = self.others.len();
        self.others
            .retain(|_, heard| now.saturating_duration_since(*heard) < DEAD);
        self.others.len() != before
    }

    /// Nobody could be heard until now: their silence says nothing.
    pub(crate) fn refresh(&mut self, now: Instant) {
        for heard in self.others.values_mut() {
            *heard = now;
        }
    }
}

/// FNV-1a over both names, and the last step of SplitMix64: FNV alone leaves the high bits of alike names alike.
fn rank(replica: &str, name: &str) -> u64 {
    let bytes = replica.bytes().chain([0]).chain(name.bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(own: &str, others: &[&str], now: Instant) -> Replicas {
        let mut replicas = Replicas::new(own.into());
        for other in others {
            replicas.on_beat((*other).into(), true, now);
        }
        replicas
    }

    #[test]
    fn each_user_is_owned_by_one_and_the_users_are_shared_out() {
        let now = Instant::now();
        let all = [
            replicas("a", &["b", "c"], now),
            replicas("b", &["c", "a"], now),
            replicas("c", &["a", "b"], now),
        ];
        let mut owned = [0; 3];
        for n in 0..3_000 {
            let user = format!("user-{n}");
            let owners: Vec<usize> = (0..3).filter(|it| all[*it].owns(&user)).collect();
            assert_eq!(owners.len(), 1);
            owned[owners[0]] += 1;
        }
        assert!(owned.iter().all(|count| (850..1_150).contains(count)), "{owned:?}");
    }

    #[test]
    fn a_silent_replica_owns_nothing_after_three_seconds() {
        let now = Instant::now();
        let mut replicas = replicas("a", &["b"], now);
        assert!(!replicas.sweep(now + Duration::from_millis(2_900)));
        assert!(replicas.sweep(now + DEAD));
        assert!((0..100).all(|n| replicas.owns(&n.to_string())));
    }

    #[test]
    fn a_replica_that_takes_leave_owns_nothing_at_once() {
        let now = Instant::now();
        let mut replicas = replicas("a", &["b"], now);
        assert!(replicas.on_beat("b".into(), false, now));
        assert_eq!(replicas.len(), 1);
    }
}
