//! What one watcher was told about whom, and whether it was right. Pure; the time is passed in.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use protocol::server_frame::Status;

/// Who plays what, by number.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    pub(super) watchers: Range<usize>,
    /// Their only session is on the node that dies.
    pub(super) dying: Range<usize>,
    /// They have a session on each node.
    pub(super) both: Range<usize>,
    /// Their session is on the other node.
    pub(super) others: Range<usize>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    cast: Cast,
    status: HashMap<usize, Status>,
    online: usize,
    killed_at: Option<Instant>,
    /// From the kill until the watcher was told, of each who was told to be offline.
    pub(super) offline_after: Vec<Duration>,
    /// Presence frames since the kill.
    pub(super) frames: u64,
    /// Users of the living node who were told to be offline since the kill.
    pub(super) flickers: u64,
    /// Users of the dead node who were told to be offline before the kill, or online after it.
    pub(super) false_starts: u64,
    /// Users who were told twice to be what they were.
    pub(super) repeated: u64,
}

impl Watch {
    pub(super) fn new(cast: Cast) -> Self {
        Self {
            cast,
            status: HashMap::new(),
            online: 0,
            killed_at: None,
            offline_after: Vec::new(),
            frames: 0,
            flickers: 0,
            false_starts: 0,
            repeated: 0,
        }
    }

    /// A presence frame.
    pub(super) fn on_presence(&mut self, number: usize, status: Status, now: Instant) {
        let before = self.status.insert(number, status);
        let is_dying = self.cast.dying.contains(&number);
        let is_user = number >= self.cast.dying.start;
        if is_user && before.is_none_or(|it| it == Status::Offline) && status != Status::Offline {
            self.online += 1;
        }
        if is_user && status == Status::Offline && before.is_some_and(|it| it != Status::Offline) {
            self.online -= 1;
        }
        self.repeated += u64::from(before == Some(status));
        let Some(killed_at) = self.killed_at else {
            self.false_starts += u64::from(is_dying && status == Status::Offline);
            return;
        };
        self.frames += 1;
        match (is_dying, status) {
            (true, Status::Offline) if before != Some(Status::Offline) => {
                self.offline_after.push(now.saturating_duration_since(killed_at));
            }
            (true, Status::Offline) => {}
            (true, _) => self.false_starts += 1,
            (false, Status::Offline) => self.flickers += 1,
            (false, _) => {}
        }
    }

    /// From now on the dying are dead.
    pub(super) fn killed(&mut self, at: Instant) {
        self.killed_at = Some(at);
    }

    /// Whether every user was told to be online.
    pub(super) fn all_online(&self) -> bool {
        self.online >= self.cast.others.end - self.cast.dying.start
    }

    /// Whether all the dead were told to be offline.
    pub(super) fn all_offline(&self) -> bool {
        self.offline_after.len() >= self.cast.dying.len()
    }

    /// The dead of whom it was never told.
    pub(super) fn untold(&self) -> u64 {
        (self.cast.dying.len().saturating_sub(self.offline_after.len())) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watcher (0), two who die (1, 2), one on both nodes (3), one on the other (4); all online.
    fn watch(now: Instant) -> Watch {
        let cast = Cast {
            watchers: 0..1,
            dying: 1..3,
            both: 3..4,
            others: 4..5,
        };
        let mut watch = Watch::new(cast);
        for number in 0..5 {
            assert!(!watch.all_online());
            watch.on_presence(number, Status::Online, now);
        }
        watch
    }

    #[test]
    fn the_dead_are_timed_and_the_living_stay() {
        let now = Instant::now();
        let mut watch = watch(now);
        assert!(watch.all_online() && !watch.all_offline());
        watch.killed(now);
        watch.on_presence(1, Status::Offline, now + Duration::from_secs(9));
        assert_eq!((watch.untold(), watch.all_offline()), (1, false));
        watch.on_presence(2, Status::Offline, now + Duration::from_secs(10));
        watch.on_presence(4, Status::Away, now + Duration::from_secs(11));
        assert!(watch.all_offline());
        assert_eq!(watch.offline_after, [9, 10].map(Duration::from_secs));
        assert_eq!(
            (watch.frames, watch.flickers, watch.false_starts, watch.repeated),
            (3, 0, 0, 0)
        );
    }

    #[test]
    fn whoever_flickers_is_found() {
        let now = Instant::now();
        let mut watch = watch(now);
        watch.on_presence(1, Status::Offline, now);
        watch.on_presence(1, Status::Online, now);
        watch.killed(now);
        for (number, status) in [
            (3, Status::Offline),
            (3, Status::Online),
            (0, Status::Offline),
            (1, Status::Offline),
            (1, Status::Online),
            (1, Status::Online),
        ] {
            watch.on_presence(number, status, now);
        }
        assert_eq!((watch.flickers, watch.false_starts, watch.repeated), (2, 3, 1));
    }
}
