//! What makes a follower of a stream doubt: that the stream seems to have lost what was seen of it, or goes on without the
//! follower being told.

use std::time::Duration;

use tokio::time::Instant;

use crate::tail::LOOK;

/// Looks without progress after which the consumer is made again: a second.
const STUCK_LOOKS: u32 = 2;
/// How long a stream of a cluster may end before the follower without being another one: a server that was cut off, or has
/// just come back, answers with what it knew until the others have told it more.
const BELIEVED: Duration = Duration::from_secs(20);

/// Since when the stream has ended before the follower, by all that its leader says.
#[derive(Debug, Default)]
pub(crate) struct Short(Option<Instant>);

impl Short {
    /// Whether the stream has lost what the follower has seen: in a cluster only if it says so for long.
    pub(crate) fn has_lost(&mut self, ends_before: bool, clustered: bool, now: Instant) -> bool {
        if !ends_before {
            self.0 = None;
            return false;
        }
        let since = *self.0.get_or_insert(now);
        let lost = !clustered || now.duration_since(since) >= BELIEVED;
        if lost {
            self.0 = None;
        }
        lost
    }

    /// Until it is worth another look; for ever where all is well.
    pub(crate) async fn wait(&self) {
        match self.0 {
            Some(_) => tokio::time::sleep(LOOK).await,
            None => std::future::pending().await,
        }
    }
}

/// Looks in a row at which there was more, and nothing of it had come since the one before.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    at: Option<u64>,
    looks: u32,
}

impl Stuck {
    /// Whether it is time to begin anew.
    pub(crate) fn look(&mut self, reached: u64, end: u64) -> bool {
        let at = Some(reached).filter(|_| end > reached);
        self.looks = if at.is_some() && at == self.at {
            self.looks + 1
        } else {
            0
        };
        self.at = at;
        self.looks >= STUCK_LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_before_its_follower_is_lost_at_once_or_in_a_cluster_after_a_while() {
        let now = Instant::now();
        assert!(Short::default().has_lost(true, false, now));
        let mut short = Short::default();
        assert!(!short.has_lost(true, true, now) && !short.has_lost(true, true, now + BELIEVED / 2));
        assert!(
            !short.has_lost(false, true, now + BELIEVED),
            "it was told more meanwhile"
        );
        assert!(!short.has_lost(true, true, now + BELIEVED), "this begins anew");
        assert!(short.has_lost(true, true, now + BELIEVED * 2));
    }

    #[test]
    fn a_consumer_is_stuck_that_does_not_move_while_the_stream_does() {
        let mut stuck = Stuck::default();
        assert!(!stuck.look(5, 7) && !stuck.look(5, 9), "one look is no proof");
        assert!(stuck.look(5, 9));
        let mut slow = Stuck::default();
        assert!(
            !slow.look(5, 9) && !slow.look(6, 9) && !slow.look(7, 9) && !slow.look(8, 9),
            "it moves"
        );
        let mut idle = Stuck::default();
        assert!((0..5).all(|_| !idle.look(9, 9)));
    }
}
