//! Whether a send must be looked up in MongoDB before it is published, by the age of its client id.
//!
//! JetStream knows a repetition for the duplicate window, counted from when it stored the original, which is never
//! before the client made the id. So an id younger than the window is JetStream's to judge, as far as the client's
//! clock is right.

use std::time::Duration;

use protocol::{ClientId, Timestamp};

/// Decides before publishing at `now`. A version-7 id tells its own age: younger than the window it is never looked
/// up, older always. An id of another version does not, and neither does one from beyond the window in the future,
/// which proves its clock wrong: there the client's `retry` decides.
///
/// A tenth of the window, at most ten seconds, counts as old already: for the time between this decision and
/// JetStream's, and for clocks that differ by a little.
pub(crate) fn must_look_up(client_id: &ClientId, retry: bool, now: Timestamp, window: Duration) -> bool {
    let Some(made) = client_id.made_at_ms() else {
        return retry;
    };
    let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    let age = now.as_millis().saturating_sub(made);
    if age < -window {
        return retry;
    }
    age >= window - (window / 10).min(10_000)
}

#[cfg(test)]
mod tests {
    use uuid::{Timestamp as UuidTime, Uuid};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);
    const NOW_MS: i64 = 1_795_000_000_000;

    fn made(age_ms: i64) -> ClientId {
        let at = u64::try_from(NOW_MS - age_ms).unwrap();
        let nanos = u32::try_from(at % 1_000).unwrap() * 1_000_000;
        let uuid = Uuid::new_v7(UuidTime::from_unix(uuid::NoContext, at / 1_000, nanos));
        ClientId::parse(&uuid.to_string()).unwrap()
    }

    fn looked_up(age_ms: i64, retry: bool) -> bool {
        must_look_up(&made(age_ms), retry, Timestamp::from_millis(NOW_MS), WINDOW)
    }

    #[test]
    fn younger_than_the_window_never_older_always() {
        for retry in [false, true] {
            assert!(!looked_up(0, retry) && !looked_up(109_000, retry) && !looked_up(-119_000, retry));
            assert!(looked_up(110_000, retry) && looked_up(120_000, retry) && looked_up(86_400_000, retry));
        }
    }

    #[test]
    fn without_an_age_the_flag_decides() {
        let v4 = ClientId::parse("9c5b94b1-35ad-49bb-b118-8e8fc24abf80").unwrap();
        for retry in [false, true] {
            assert_eq!(must_look_up(&v4, retry, Timestamp::from_millis(NOW_MS), WINDOW), retry);
            assert_eq!(looked_up(-121_000, retry), retry, "from the future");
        }
    }
}
