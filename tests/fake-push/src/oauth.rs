//! Google's token endpoint for service accounts: a signed assertion in, an access token out (RFC 7523).

use std::collections::HashMap;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use protocol::Timestamp;
use serde_json::json;

use crate::answer::{self, Arrived, Outcome, Verdict};
use crate::form;
use crate::jwt::Jwt;
use crate::keys::CLIENT_EMAIL;
use crate::world::World;

/// Where it is on its listeners.
pub(crate) const PATH: &str = "/token";

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// Seconds from `iat` to `exp`.
const LIFETIME_MOST: i64 = 3_600;
/// Seconds that clocks may differ.
const SKEW: i64 = 300;
/// Access tokens that are alive at once, at most: one more ends all others.
const KEPT: usize = 10_000;

/// Access tokens that were issued, with the time of their expiry.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    tokens: Mutex<HashMap<String, Timestamp>>,
}

impl Grants {
    fn issue(&self, now: Timestamp, lifetime: Duration) -> String {
        let token = format!(
            "ya29.{}{}",
            uuid::Uuid::new_v4().simple(),
            uuid::Uuid::new_v4().simple()
        );
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let expires_at = Timestamp::from_millis(now.as_millis().saturating_add(lifetime));
        let mut tokens = self.tokens.lock();
        if tokens.len() >= KEPT {
            tokens.retain(|_, expiry| *expiry > now);
        }
        if tokens.len() >= KEPT {
            tokens.clear();
        }
        tokens.insert(token.clone(), expires_at);
        token
    }

    /// Whether the token was issued and is alive.
    pub(crate) fn is_valid(&self, token: &str, now: Timestamp) -> bool {
        self.tokens.lock().get(token).is_some_and(|expiry| *expiry > now)
    }

    /// No token is valid any more.
    pub(crate) fn revoke(&self) {
        self.tokens.lock().clear();
    }
}

/// What is wrong with a request for a token.
type Wrong = (&'static str, &'static str);

/// Judges a whole request.
pub(crate) fn judge(world: &World, request: &Arrived) -> Verdict {
    if request.method != Method::POST {
        return Verdict::refused(answer::empty(StatusCode::METHOD_NOT_ALLOWED), "method");
    }
    if let Err((error, description)) = check(world, request) {
        let body = json!({"error": error, "error_description": description});
        return Verdict::refused(answer::json(StatusCode::BAD_REQUEST, &body), description);
    }
    let lifetime = world.options.access_token_lifetime;
    let answer = json!({
        "access_token": world.grants.issue(request.at, lifetime),
        "expires_in": lifetime.as_secs(),
        "token_type": "Bearer",
    });
    Verdict {
        response: answer::json(StatusCode::OK, &answer),
        outcome: Outcome::Accepted(None),
    }
}

fn check(world: &World, request: &Arrived) -> Result<(), Wrong> {
    let form_type = "application/x-www-form-urlencoded";
    if !request
        .header("content-type")
        .is_some_and(|it| it.starts_with(form_type))
    {
        return Err(("invalid_request", "Bad Request: not a form"));
    }
    if form::field(&request.body, "grant_type").as_deref() != Some(GRANT_TYPE) {
        return Err(("unsupported_grant_type", "Invalid grant_type"));
    }
    let Some(assertion) = form::field(&request.body, "assertion") else {
        return Err(("invalid_request", "Missing required parameter: assertion"));
    };
    let Some(jwt) = Jwt::parse_lenient(&assertion) else {
        return Err(("invalid_grant", "Invalid JWT: not three parts of base64url JSON"));
    };
    if jwt.text("iss") != CLIENT_EMAIL {
        return Err(("invalid_grant", "Invalid grant: account not found"));
    }
    if !jwt.is_rs256_of(&world.keys.fcm) {
        return Err(("invalid_grant", "Invalid JWT Signature."));
    }
    if jwt.text("aud") != world.token_uri {
        return Err(("invalid_grant", "Invalid JWT: Failed audience check"));
    }
    let now = request.at.as_millis() / 1_000;
    let timely = |issued_at: i64, expiry: i64| {
        issued_at <= now + SKEW && expiry > now && (0..=LIFETIME_MOST).contains(&(expiry - issued_at))
    };
    let times = jwt.seconds("iat").zip(jwt.seconds("exp"));
    if !times.is_some_and(|(issued_at, expiry)| timely(issued_at, expiry)) {
        return Err((
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
        ));
    }
    if !jwt.text("scope").split(' ').any(|it| it == SCOPE) {
        return Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
    }
    Ok(())
}
