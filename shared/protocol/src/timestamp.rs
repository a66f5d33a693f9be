//! Times as the protocol writes them: RFC 3339, UTC, milliseconds.

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, in milliseconds since the Unix epoch. On the wire `2026-11-22T01:02:03.456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From milliseconds since the epoch, held within the years that RFC 3339 can write.
    pub fn from_millis(millis: i64) -> Self {
        const YEAR_0: i64 = -62_167_219_200_000;
        const YEAR_9999: i64 = 253_402_300_799_999;
        Self(millis.clamp(YEAR_0, YEAR_9999))
    }

    /// This machine's clock. Only the edges call it; decisions take the time as an argument.
    pub fn now() -> Self {
        Self::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Parses any RFC 3339 time; a finer fraction is cut to milliseconds. `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Some(Self::from_millis(parsed.as_millisecond()))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(time) = jiff::Timestamp::from_millisecond(self.0) else {
            return Err(std::fmt::Error);
        };
        let mut text = String::with_capacity(24);
        if PRINTER.print_timestamp(&time, &mut text).is_err() {
            return Err(std::fmt::Error);
        }
        f.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_milliseconds_and_z() {
        assert_eq!(
            Timestamp::from_millis(1_795_000_000_000).to_string(),
            "2026-11-18T11:06:40.000Z"
        );
        assert_eq!(
            Timestamp::from_millis(1_795_000_000_007).to_string(),
            "2026-11-18T11:06:40.007Z"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let time = Timestamp::from_millis(1_795_123_456_789);
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        assert_eq!(
            Timestamp::parse("2026-11-18T12:06:40+01:00"),
            Some(Timestamp::from_millis(1_795_000_000_000))
        );
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
