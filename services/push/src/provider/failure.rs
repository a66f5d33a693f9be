//! What all providers' answers have in common: requests without a response, and "Retry-After".

use std::time::Duration;

use http::{HeaderMap, header};
use protocol::Timestamp;

use super::http2::{ConnectError, SendError};
use super::{Answer, Scope};

/// Nobody is asked to wait for longer, whatever a header says.
const WAIT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Characters of a provider's own words that stand in a reason.
const WORDS_MOST: usize = 100;

impl From<SendError> for Answer {
    /// Providers take a push again with the same id or the same collapse id, so what may have been done is repeated.
    fn from(error: SendError) -> Self {
        let reason = error.to_string();
        match error {
            SendError::Connect(ConnectError::Forbidden(_)) => Answer::Refused { reason },
            SendError::Connect(ConnectError::Failed { .. })
            | SendError::NotSent(_)
            | SendError::Lost(_)
            | SendError::TimedOut => Answer::Later {
                reason,
                after: None,
                scope: Scope::App,
            },
        }
    }
}

/// How long the provider asks to wait: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds).min(WAIT_MOST));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.as_millis()).ok()?);
    Some(date.saturating_sub(now).min(WAIT_MOST))
}

/// A provider's own words as a reason: short and in one line.
pub(crate) fn words(text: &str) -> String {
    text.chars()
        .take(WORDS_MOST)
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_waited_for() {
        // 1994-11-06T08:49:37Z
        let now = Timestamp::from_millis(784_111_777_000);
        for (value, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999", Some(86_400)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_request_without_a_response_comes_again_later() {
        let failed = ConnectError::Failed {
            authority: "a:1".to_owned(),
            reason: "refused".to_owned(),
        };
        for error in [
            SendError::TimedOut,
            SendError::Lost("eof".to_owned()),
            SendError::NotSent("refused".to_owned()),
            SendError::Connect(failed),
        ] {
            let reason = error.to_string();
            let answer = Answer::Later {
                reason,
                after: None,
                scope: Scope::App,
            };
            assert_eq!(Answer::from(error), answer);
        }
    }

    #[test]
    fn an_address_that_must_not_be_reached_is_refused_for_good() {
        let error = SendError::Connect(ConnectError::Forbidden("a:1".to_owned()));
        assert!(matches!(Answer::from(error), Answer::Refused { .. }));
    }
}
