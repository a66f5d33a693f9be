//! When each message is due, and what it is called: pure arithmetic, no clock.
//!
//! The loop is open: a message is due at its time whether or not the earlier ones were answered, and its latency counts
//! from there, so that a server that stalls cannot hide the messages it kept from being sent.

use std::time::Duration;

/// Messages fall due on this grid: a timer cannot do better without burning a core that the servers need.
const GRID: Duration = Duration::from_micros(250);

/// Bits of a message's number within its phase.
const NUMBER_BITS: u32 = 40;

/// What one worker sends in one phase: its share of an even stream of `rate` messages a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Schedule {
    /// Messages a second, of all workers.
    pub(super) rate: f64,
    /// Not measured.
    pub(super) warm_up: Duration,
    /// Measured, after it.
    pub(super) measured: Duration,
    /// How many workers share the stream.
    pub(super) workers: u64,
    /// Which of them this is, from 0.
    pub(super) worker: u64,
}

impl Schedule {
    /// When the worker's message is due, after the phase's start.
    pub(super) fn due(&self, number: u64) -> Duration {
        let place = number * self.workers + self.worker;
        let grid = GRID.as_nanos() as f64;
        let ticks = (place as f64 / self.rate * 1e9 / grid).floor();
        Duration::from_nanos((ticks * grid) as u64)
    }

    /// Whether the message is due after the warm-up.
    pub(super) fn is_measured(&self, number: u64) -> bool {
        self.due(number) >= self.warm_up
    }

    /// How long the phase sends.
    pub(super) fn length(&self) -> Duration {
        self.warm_up + self.measured
    }
}

/// The room and the sender of a message: rooms in turn, and in a room its senders in turn.
pub(super) fn place(number: u64, rooms: usize, senders: usize) -> (usize, usize) {
    let (rooms, senders) = (rooms.max(1) as u64, senders.max(1) as u64);
    ((number % rooms) as usize, (number / rooms % senders) as usize)
}

/// A message's name in its client id: unique and rising for each worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(phase: u8, number: u64) -> Self {
        Self(u64::from(phase) << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1))
    }

    pub(super) fn phase(self) -> u8 {
        (self.0 >> NUMBER_BITS) as u8
    }

    pub(super) fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }

    /// Writes a version-7 UUID of this time over the 36 bytes of `into`: no server takes it for a late retry.
    pub(super) fn write(self, unix_ms: u64, into: &mut [u8]) {
        let value = u128::from(unix_ms & ((1 << 48) - 1)) << 80 | 7 << 76 | 0b10 << 62 | u128::from(self.0);
        let mut shift = 128;
        for (place, byte) in into.iter_mut().enumerate() {
            if matches!(place, 8 | 13 | 18 | 23) {
                *byte = b'-';
                continue;
            }
            shift -= 4;
            *byte = b"0123456789abcdef"[(value >> shift & 15) as usize];
        }
    }

    /// Reads it back out of a client id.
    pub(super) fn parse(client_id: &str) -> Option<Self> {
        let digits = client_id.get(24..36).filter(|_| client_id.len() == 36)?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(worker: u64) -> Schedule {
        Schedule {
            rate: 8_000.0,
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(2),
            workers: 2,
            worker,
        }
    }

    #[test]
    fn the_workers_together_keep_the_rate() {
        let due = |worker: u64| (0..).map(move |number| schedule(worker).due(number));
        let sent = |worker| due(worker).take_while(|it| *it < schedule(0).length()).count();
        assert_eq!(sent(0) + sent(1), 24_000);
        let measured = (0..sent(0) as u64).filter(|it| schedule(0).is_measured(*it)).count();
        assert_eq!(measured, 8_000);
    }

    #[test]
    fn messages_fall_due_in_order_on_the_grid_and_never_late() {
        let times: Vec<_> = (0..1_000).map(|number| schedule(1).due(number)).collect();
        assert!(times.is_sorted());
        for (number, due) in times.iter().enumerate() {
            let exact = Duration::from_nanos((number as u64 * 2 + 1) * 125_000);
            assert_eq!(due.as_nanos() % GRID.as_nanos(), 0);
            assert!(*due <= exact && exact - *due < GRID);
        }
    }

    #[test]
    fn every_room_and_every_sender_has_its_turn() {
        let places: Vec<_> = (0..6).map(|number| place(number, 3, 2)).collect();
        assert_eq!(places, [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
        assert_eq!(place(7, 1, 1), (0, 0));
    }

    #[test]
    fn a_key_survives_its_client_id_which_is_a_uuid_of_that_time() {
        let key = Key::new(3, 1_234_567);
        let mut text = [0; 36];
        key.write(1_795_000_000_123, &mut text);
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(Key::parse(text), Some(key));
        assert_eq!((key.phase(), key.number()), (3, 1_234_567));
        let id = protocol::ClientId::parse(text).unwrap();
        assert_eq!(id.made_at_ms(), Some(1_795_000_000_123));
        assert_eq!(id.canonical(), text);
    }
}
