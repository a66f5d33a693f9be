//! Google's access token of one project: fetched by `fcm_v1`, shared by all requests, renewed before it ends.
//!
//! One fetch at a time, in a task of its own: the crate builds its connector from the machine's certificate store and
//! panics where there is none. Its errors say nothing, so that a refused account looks like an unreachable Google.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use fcm_v1::auth::{Authenticator, ServiceAccountKey};
use futures_util::FutureExt;
use futures_util::future::Shared;
use http::HeaderValue;
use parking_lot::Mutex;
use protocol::Timestamp;
use tokio::sync::oneshot;
use tokio::time::timeout;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// A token is renewed so long before it ends,
const BEFORE_END: Duration = Duration::from_secs(5 * 60);
/// but is used for so long if it lives so long,
const AGE_LEAST: Duration = Duration::from_secs(20 * 60);
/// and never for longer.
const AGE_MOST: Duration = Duration::from_secs(60 * 60);

/// The crate sets itself no bound.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// After a failure no other fetch is begun for so long.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// A token that is refused so soon after another one was is not the reason.
const RENEWALS_APART: Duration = Duration::from_secs(60);

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// It could not be fetched.
    #[error("no access token from Google")]
    Failed,
    /// Google refuses the tokens that it gives us.
    #[error("Google does not take the access token it gave us")]
    Refused,
}

pub(super) struct Tokens {
    project: String,
    key: ServiceAccountKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    fetching: Option<Fetching>,
    failed_at: Option<Timestamp>,
    /// When a token was last fetched because Google did not take the one before.
    renewed_at: Option<Timestamp>,
}

impl State {
    /// The fetch that is going on.
    fn ongoing(&self) -> Option<Fetching> {
        self.fetching.clone().filter(|it| it.peek().is_none())
    }
}

type Fetching = Shared<oneshot::Receiver<Result<HeaderValue, TokenError>>>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    value: HeaderValue,
    fetched_at: Timestamp,
    ends_at: Timestamp,
}

/// What to do for a token.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// Fetch one, and go on with the old one meanwhile.
    Another,
    /// Wait for one.
    New,
}

impl Token {
    fn need(&self, now: Timestamp) -> Need {
        let too_old = plus(self.fetched_at, AGE_MOST);
        let early = Timestamp::from_millis(self.ends_at.as_millis() - millis(BEFORE_END));
        let renew_at = early.clamp(plus(self.fetched_at, AGE_LEAST), too_old);
        // One from the future is of a clock that was put back.
        if now >= self.ends_at || now >= too_old || now < self.fetched_at {
            Need::New
        } else if now >= renew_at {
            Need::Another
        } else {
            Need::Nothing
        }
    }
}

impl Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tokens").field(&self.project).finish()
    }
}

impl Tokens {
    pub(super) fn new(project: String, key: ServiceAccountKey) -> Self {
        Self {
            project,
            key,
            state: Mutex::default(),
        }
    }

    /// The value of `authorization`.
    pub(super) async fn get(self: &Arc<Self>, now: Timestamp) -> Result<HeaderValue, TokenError> {
        let fetching = {
            let mut state = self.state.lock();
            match state.token.as_ref().map(|it| (it.need(now), it.value.clone())) {
                Some((Need::Nothing, value)) => return Ok(value),
                Some((Need::Another, value)) => {
                    let _ = self.fetch(&mut state, now);
                    return Ok(value);
                }
                Some((Need::New, _)) | None => self.fetch(&mut state, now)?,
            }
        };
        fetching.await.unwrap_or(Err(TokenError::Failed))
    }

    /// Another one than this, which Google does not take.
    pub(super) async fn renewed(
        self: &Arc<Self>,
        refused: &HeaderValue,
        now: Timestamp,
    ) -> Result<HeaderValue, TokenError> {
        let fetching = {
            let mut state = self.state.lock();
            let current = state.token.as_ref().map(|it| &it.value);
            if let Some(current) = current.filter(|it| *it != refused) {
                return Ok(current.clone());
            }
            let recently = |at: Timestamp| at <= now && now < plus(at, RENEWALS_APART);
            if state.ongoing().is_none() {
                if state.renewed_at.is_some_and(recently) {
                    return Err(TokenError::Refused);
                }
                state.renewed_at = Some(now);
            }
            self.fetch(&mut state, now)?
        };
        fetching.await.unwrap_or(Err(TokenError::Failed))
    }

    /// Begins a fetch unless there is one.
    fn fetch(self: &Arc<Self>, state: &mut State, now: Timestamp) -> Result<Fetching, TokenError> {
        if let Some(ongoing) = state.ongoing() {
            return Ok(ongoing);
        }
        let paused = |failed: Timestamp| failed <= now && now < plus(failed, PAUSE);
        if state.failed_at.is_some_and(paused) {
            return Err(TokenError::Failed);
        }
        let (done, fetched) = oneshot::channel();
        let fetched = fetched.shared();
        state.fetching = Some(fetched.clone());
        let tokens = self.clone();
        tokio::spawn(async move {
            let result = fetch(tokens.key.clone(), now).await;
            let mut state = tokens.state.lock();
            state.fetching = None;
            state.failed_at = result.is_err().then_some(now);
            let outcome = if result.is_ok() { "ok" } else { "failed" };
            metrics::counter!("parley_push_token_fetches_total", "provider" => "fcm", "outcome" => outcome)
                .increment(1);
            let value = match result {
                Ok(token) => Ok(state.token.insert(token).value.clone()),
                Err(problem) => {
                    tracing::warn!(
                        project = tokens.project,
                        token_uri = tokens.key.token_uri,
                        problem,
                        "no access token from Google"
                    );
                    Err(TokenError::Failed)
                }
            };
            let _ = done.send(value);
        });
        Ok(fetched)
    }
}

async fn fetch(key: ServiceAccountKey, now: Timestamp) -> Result<Token, &'static str> {
    // The type parameter of the function stands for nothing.
    let task = tokio::spawn(timeout(FETCH_TIMEOUT, async move {
        let authenticator = Authenticator::service_account::<&str>(key).await?;
        authenticator.token(&[SCOPE]).await
    }));
    let token = match task.await {
        Ok(Ok(Ok(token))) => token,
        Ok(Ok(Err(_))) => return Err("Google cannot be reached, or refuses the service account"),
        Ok(Err(_)) => return Err("timed out"),
        Err(_) => return Err("this machine has no certificate store that can be used: set SSL_CERT_FILE"),
    };
    let text = token.token().ok_or("the answer holds no token")?;
    let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| "the answer's token is not one")?;
    value.set_sensitive(true);
    let ends_at = match token.expiration_time() {
        Some(time) => Timestamp::from_millis(time.unix_timestamp().saturating_mul(1_000)),
        None => plus(now, AGE_MOST),
    };
    Ok(Token {
        value,
        fetched_at: now,
        ends_at,
    })
}

fn plus(time: Timestamp, after: Duration) -> Timestamp {
    Timestamp::from_millis(time.as_millis().saturating_add(millis(after)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000_000;

    fn after(minutes: i64) -> Timestamp {
        Timestamp::from_millis(START + minutes * 60_000)
    }

    fn token(lives_minutes: i64) -> Token {
        Token {
            value: HeaderValue::from_static("Bearer x"),
            fetched_at: after(0),
            ends_at: after(lives_minutes),
        }
    }

    #[test]
    fn a_token_of_an_hour_is_renewed_five_minutes_before() {
        for (minutes, need) in [
            (0, Need::Nothing),
            (54, Need::Nothing),
            (55, Need::Another),
            (59, Need::Another),
            (60, Need::New),
            (-1, Need::New),
        ] {
            assert_eq!(token(60).need(after(minutes)), need, "{minutes}");
        }
    }

    #[test]
    fn a_token_is_not_renewed_more_often_than_every_twenty_minutes_while_it_lives() {
        for (lives, minutes, need) in [
            (22, 19, Need::Nothing),
            (22, 20, Need::Another),
            (22, 22, Need::New),
            (10, 9, Need::Nothing),
            (10, 10, Need::New),
        ] {
            assert_eq!(token(lives).need(after(minutes)), need, "{lives} {minutes}");
        }
    }

    #[test]
    fn a_token_is_not_kept_for_more_than_an_hour() {
        assert_eq!(token(600).need(after(59)), Need::Nothing);
        assert_eq!(token(600).need(after(60)), Need::New);
    }
}
