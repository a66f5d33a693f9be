//! Whether silence means anything: a replica that heard nothing may itself have been paused or cut off.
//!
//! It hears its own beats through NATS. While they do not come back, and for a whole lease after, no lease ends; after a
//! pause of the process likewise. And it says nothing until it has had time to hear what happened meanwhile.

use std::time::{Duration, Instant};

/// Without input for longer, ticks included, the process was paused.
const PAUSED: Duration = Duration::from_secs(1);
/// Own beats go out every second.
const ECHO: Duration = Duration::from_millis(2_500);
/// What waited in buffers has come by then.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct Trust {
    lease: Duration,
    /// When anything last happened here.
    awake: Instant,
    /// When the newest own beat came back.
    echo: Instant,
    /// Number of the newest own beat.
    beat: u64,
    /// Nothing that is heard, or not heard, can be relied on.
    doubtful: bool,
    no_lease_ends_before: Instant,
    silent_until: Instant,
}

impl Trust {
    pub(crate) fn new(lease: Duration, now: Instant) -> Self {
        Self {
            lease,
            awake: now,
            echo: now,
            beat: 0,
            doubtful: true,
            no_lease_ends_before: now + lease,
            silent_until: now + SETTLE,
        }
    }

    /// Something happens now. Whether the process was paused until then.
    pub(crate) fn on_time(&mut self, now: Instant) -> bool {
        let paused = now.saturating_duration_since(self.awake) > PAUSED;
        self.awake = now;
        if paused {
            self.beat += 1;
            self.start_over(now);
        }
        if now.saturating_duration_since(self.echo) > ECHO {
            self.doubtful = true;
        }
        paused
    }

    /// The link went down, or came up: until a beat has made its way it proves nothing.
    pub(crate) fn on_link(&mut self) {
        self.doubtful = true;
        // The echo of the last one may wait in a buffer.
        self.beat += 1;
    }

    /// The number of a beat that goes out now.
    pub(crate) fn next_beat(&mut self) -> u64 {
        self.beat += 1;
        self.beat
    }

    /// An own beat came back. Whether that ended a doubt. Only the newest one counts: an older one may have waited in a
    /// buffer, with all that is behind it.
    pub(crate) fn on_echo(&mut self, beat: u64, now: Instant) -> bool {
        if beat != self.beat {
            return false;
        }
        self.echo = now;
        if !self.doubtful {
            return false;
        }
        self.doubtful = false;
        self.start_over(now);
        true
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// Whether a node's silence means that it is dead.
    pub(crate) fn may_end_leases(&self, now: Instant) -> bool {
        !self.doubtful && now >= self.no_lease_ends_before
    }

    /// Whether what is known here is what is so.
    pub(crate) fn is_settled(&self, now: Instant) -> bool {
        // Whoever asks after a pause may come before anything that was heard meanwhile is taken in.
        let asleep = now.saturating_duration_since(self.awake) > PAUSED;
        !self.doubtful && !asleep && now >= self.silent_until
    }

    fn start_over(&mut self, now: Instant) {
        self.no_lease_ends_before = now + self.lease;
        self.silent_until = now + SETTLE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    /// Beats come back until nothing is doubtful and leases may end.
    fn settled(start: Instant) -> (Trust, Instant) {
        let mut trust = Trust::new(LEASE, start);
        let mut now = start;
        for _ in 0..12 {
            now += Duration::from_secs(1);
            trust.on_time(now);
            let beat = trust.next_beat();
            trust.on_echo(beat, now);
        }
        (trust, now)
    }

    #[test]
    fn after_a_pause_of_more_than_a_second_no_lease_ends_for_a_lease() {
        let (mut trust, now) = settled(Instant::now());
        assert!(trust.may_end_leases(now));
        let now = now + Duration::from_millis(1_100);
        assert!(trust.on_time(now));
        let beat = trust.next_beat();
        trust.on_echo(beat, now);
        assert!(!trust.may_end_leases(now + LEASE - Duration::from_millis(1)));
        assert!(trust.may_end_leases(now + LEASE));
    }

    #[test]
    fn after_a_pause_nothing_is_settled_before_anything_was_heard() {
        let (trust, now) = settled(Instant::now());
        assert!(trust.is_settled(now) && !trust.is_settled(now + Duration::from_millis(1_100)));
    }

    #[test]
    fn an_echo_from_before_the_doubt_does_not_end_it() {
        let (mut trust, now) = settled(Instant::now());
        let before = trust.next_beat();
        trust.on_link();
        assert!(!trust.on_echo(before, now));
        assert!(trust.is_doubtful());
    }

    #[test]
    fn beats_that_do_not_come_back_are_a_doubt() {
        let (mut trust, mut now) = settled(Instant::now());
        for _ in 0..3 {
            now += Duration::from_millis(900);
            trust.on_time(now);
            trust.next_beat();
        }
        assert!(trust.is_doubtful());
    }
}
