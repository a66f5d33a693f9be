//! Verification of tokens. HS256 with the configured secret for now; other algorithms will join as further issuers,
//! each with its own pinned algorithm: which one a token names is never asked.

use config::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use protocol::{Claims, Code, Refusal, Timestamp, UserId, limits};
use tokio::time::{Duration, Instant};

/// Seconds by which clocks may differ at a token's end (contract §1).
const LEEWAY_SECONDS: u64 = 5;

/// Whoever a good token names.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub user_id: UserId,
    /// The only device that the token is for, if it names one.
    pub device_id: Option<String>,
    /// His name, where the token says one: shown in notifications, never trusted.
    pub name: Option<String>,
    /// End of the token, seconds since the epoch.
    expires: u64,
}

/// Checks signature, algorithm, issuer, audience and end of tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// One that takes HS256 tokens of one issuer for one audience.
    pub fn new(secret: &Secret, issuer: &str, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The end is checked below, against the time passed in.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            key: DecodingKey::from_secret(secret.expose()),
            validation,
        }
    }

    /// Whom a token names.
    ///
    /// # Errors
    /// `unauthenticated`, without telling a forger what was wrong.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, Refusal> {
        let refused = |message: &str| Refusal::new(Code::Unauthenticated, message);
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|_| refused("the token does not hold: get a new one from your issuer"))?;
        let claims = decoded.claims;
        if claims.exp.saturating_add(LEEWAY_SECONDS) <= seconds(now) {
            return Err(refused("the token has expired: get a new one from your issuer"));
        }
        let Some(user_id) = UserId::parse(&claims.sub) else {
            return Err(refused("the token's `sub` must be 1 to 128 bytes"));
        };
        let device_id = claims.device_id;
        if device_id.as_deref().is_some_and(|id| !is_device_id(id)) {
            return Err(refused("the token's `device_id` must be 1 to 128 bytes"));
        }
        Ok(Caller {
            user_id,
            device_id,
            name: claims.name.as_deref().and_then(shown_name),
            expires: claims.exp,
        })
    }
}

impl Caller {
    /// When a socket with this token ends, on the clock of timers. A token taken within the leeway ends with it.
    pub fn ends_at(&self, now: Timestamp, instant: Instant) -> Instant {
        /// A far end is as good as none; timers do not reach to the year 9999.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(0);
        let end_ms = self.expires.saturating_mul(1_000);
        let end_ms = if end_ms > now_ms {
            end_ms
        } else {
            end_ms.saturating_add(LEEWAY_SECONDS * 1_000)
        };
        instant + Duration::from_millis(end_ms.saturating_sub(now_ms)).min(FAR)
    }
}

/// A name as it is shown; `None` where there is nothing to show.
fn shown_name(text: &str) -> Option<String> {
    let name: String = text.trim().chars().take(limits::NAME_CHARS).collect();
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

/// Whether a text can be a device id.
pub fn is_device_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= limits::ID_BYTES
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_millis() / 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    const NOW: i64 = 1_795_000_000;

    fn verifier() -> Verifier {
        let auth = config::Auth {
            hs256_secret: Some(SECRET.into()),
            ..Default::default()
        };
        Verifier::new(&auth.secret().unwrap(), "iss", "aud")
    }

    fn verify(header: &Header, claims: &serde_json::Value, secret: &str) -> Result<Caller, Refusal> {
        let token = jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap();
        verifier().verify(&token, Timestamp::from_millis(NOW * 1_000))
    }

    fn claims(change: impl FnOnce(&mut serde_json::Value)) -> serde_json::Value {
        let mut claims = json!({"sub": "ann", "exp": NOW + 60, "iss": "iss", "aud": "aud"});
        change(&mut claims);
        claims
    }

    #[test]
    fn a_good_token_names_its_user_and_may_list_several_audiences() {
        let good = claims(|it| it["aud"] = json!(["other", "aud"]));
        assert_eq!(
            verify(&Header::default(), &good, SECRET).unwrap().user_id.as_str(),
            "ann"
        );
    }

    #[test]
    fn a_name_is_trimmed_and_cut_and_may_be_missing() {
        let name = |name: serde_json::Value| {
            let claims = claims(|it| it["name"] = name);
            verify(&Header::default(), &claims, SECRET).unwrap().name
        };
        assert_eq!(name(json!(" Ann B. ")).as_deref(), Some("Ann B."));
        assert_eq!(name(json!("\u{e4}".repeat(300))).unwrap().chars().count(), 200);
        assert_eq!((name(json!("  ")), name(json!(null))), (None, None));
    }

    #[test]
    fn what_is_wrong_in_any_claim_or_the_key_is_refused() {
        let cases = [
            claims(|it| it["iss"] = json!("other")),
            claims(|it| it["aud"] = json!("other")),
            claims(|it| it["exp"] = json!(NOW - 6)),
            claims(|it| it["exp"] = json!("never")),
            claims(|it| it["sub"] = json!("")),
            claims(|it| it["sub"] = json!("x".repeat(129))),
            claims(|it| drop(it.as_object_mut().unwrap().remove("exp"))),
            claims(|it| drop(it.as_object_mut().unwrap().remove("aud"))),
        ];
        for case in cases {
            assert!(verify(&Header::default(), &case, SECRET).is_err(), "{case}");
        }
        assert!(
            verify(
                &Header::default(),
                &claims(|_| ()),
                "another secret of thirty-two bytes!"
            )
            .is_err()
        );
    }

    #[test]
    fn another_algorithm_is_refused_also_with_the_right_key() {
        let header = Header::new(Algorithm::HS512);
        assert!(verify(&header, &claims(|_| ()), SECRET).is_err());
    }

    #[test]
    fn five_seconds_of_leeway_and_then_the_socket_ends() {
        let late = claims(|it| it["exp"] = json!(NOW - 4));
        let caller = verify(&Header::default(), &late, SECRET).unwrap();
        let now = Instant::now();
        assert_eq!(
            caller.ends_at(Timestamp::from_millis(NOW * 1_000), now),
            now + Duration::from_secs(1)
        );
    }
}
