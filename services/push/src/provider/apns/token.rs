//! The token by which Apple knows us: an ES256 JWT, the same for all requests for 40 minutes.
//!
//! Apple takes one for an hour, and refuses to be given new ones more often than every 20 minutes. Signed by
//! `jsonwebtoken`: a2 writes padded standard base64, which is no JWT.

use std::fmt::{self, Debug};
use std::path::Path;
use std::time::Duration;

use config::ConfigError;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use protocol::Timestamp;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

/// How old a token becomes.
const AGE_MOST: Duration = Duration::from_secs(40 * 60);

/// Apple takes no new token as soon after the last.
pub(super) const TOO_SOON: Duration = Duration::from_secs(20 * 60);

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// Apple refuses a young token: another one would not help.
    #[error("Apple takes our young token for an old one: is the clock right?")]
    Young,
    /// The key does not sign.
    #[error("the provider token cannot be signed")]
    Signing,
}

pub(super) struct ProviderToken {
    key: EncodingKey,
    header: Header,
    team_id: String,
    current: Mutex<Token>,
}

#[derive(Clone)]
struct Token {
    value: HeaderValue,
    issued_at: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
}

impl Debug for ProviderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderToken").finish_non_exhaustive()
    }
}

impl ProviderToken {
    /// Reads the key, and signs with it once.
    ///
    /// # Errors
    /// The file cannot be read or holds no key that signs.
    pub(super) fn new(key_file: &Path, key_id: &str, team_id: &str, now: Timestamp) -> Result<Self, ConfigError> {
        let invalid = |problem: &str| {
            ConfigError::new(
                "PARLEY_PUSH__APNS__KEY_FILE",
                format!("{}: {problem}", key_file.display()),
            )
        };
        let pem = std::fs::read(key_file).map_err(|it| invalid(&it.to_string()))?;
        let no_key = "no PKCS #8 PEM of an EC P-256 private key, as Apple's .p8 files are";
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| invalid(no_key))?;
        let key = EncodingKey::from_ec_der(der.secret_pkcs8_der());
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(key_id.to_owned());
        let first = sign(&key, &header, team_id, now).map_err(|_| invalid(no_key))?;
        Ok(Self {
            key,
            header,
            team_id: team_id.to_owned(),
            current: Mutex::new(first),
        })
    }

    /// The value of `authorization`.
    pub(super) fn get(&self, now: Timestamp) -> Result<HeaderValue, TokenError> {
        let mut current = self.current.lock();
        // One from the future is of a clock that was put back.
        if current.issued_at > now || age(&current, now) >= AGE_MOST {
            *current = sign(&self.key, &self.header, &self.team_id, now)?;
        }
        Ok(current.value.clone())
    }

    /// Another one than this, which Apple takes for too old.
    pub(super) fn renewed(&self, refused: &HeaderValue, now: Timestamp) -> Result<HeaderValue, TokenError> {
        let mut current = self.current.lock();
        if current.value == *refused {
            if age(&current, now) < TOO_SOON {
                return Err(TokenError::Young);
            }
            *current = sign(&self.key, &self.header, &self.team_id, now)?;
        }
        Ok(current.value.clone())
    }
}

fn age(token: &Token, now: Timestamp) -> Duration {
    let millis = now.as_millis() - token.issued_at.as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn sign(key: &EncodingKey, header: &Header, team_id: &str, now: Timestamp) -> Result<Token, TokenError> {
    let claims = Claims {
        iss: team_id,
        iat: now.as_millis() / 1_000,
    };
    let jwt = jsonwebtoken::encode(header, &claims, key).map_err(|_| TokenError::Signing)?;
    let mut value = HeaderValue::try_from(format!("bearer {jwt}")).map_err(|_| TokenError::Signing)?;
    // HTTP/2 would else keep it in its table, where it can be guessed at; and it stays out of `Debug`.
    value.set_sensitive(true);
    Ok(Token { value, issued_at: now })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;
    use crate::provider::testing::{self, EcKey};

    const START: i64 = 1_800_000_000_000;

    fn after(minutes: i64) -> Timestamp {
        Timestamp::from_millis(START + minutes * 60_000)
    }

    fn token(key: &EcKey) -> ProviderToken {
        ProviderToken::new(&key.file("apns-token"), "KEY", "TEAM", after(0)).unwrap()
    }

    #[test]
    fn it_is_a_jwt_of_the_key_and_the_team() {
        let key = EcKey::new();
        let value = token(&key).get(after(0)).unwrap();
        let jwt = value.to_str().unwrap().strip_prefix("bearer ").unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let verifying = DecodingKey::from_ec_der(&key.public_point());
        let read = jsonwebtoken::decode::<Value>(jwt, &verifying, &validation).unwrap();
        assert_eq!(read.header.kid.as_deref(), Some("KEY"));
        assert_eq!(read.claims, serde_json::json!({ "iss": "TEAM", "iat": START / 1_000 }));
    }

    #[test]
    fn it_is_kept_for_forty_minutes() {
        let token = token(&EcKey::new());
        let first = token.get(after(0)).unwrap();
        assert_eq!(token.get(after(39)).unwrap(), first);
        let second = token.get(after(40)).unwrap();
        assert_ne!(second, first);
        assert_eq!(token.get(after(79)).unwrap(), second);
    }

    #[test]
    fn a_clock_that_was_put_back_gets_a_new_one() {
        let token = token(&EcKey::new());
        let first = token.get(after(0)).unwrap();
        assert_ne!(token.get(after(-30)).unwrap(), first);
    }

    #[test]
    fn a_refused_one_is_renewed_once_and_not_while_it_is_young() {
        let token = token(&EcKey::new());
        let first = token.get(after(0)).unwrap();
        assert_eq!(token.renewed(&first, after(19)), Err(TokenError::Young));
        let second = token.renewed(&first, after(20)).unwrap();
        assert_ne!(second, first);
        // Another request that was refused meanwhile takes the same.
        assert_eq!(token.renewed(&first, after(20)).unwrap(), second);
    }

    #[test]
    fn a_file_without_a_key_is_an_error_of_its_setting() {
        let rsa = testing::rsa_pem();
        for (file, text) in [("none", "hello"), ("rsa", rsa.as_str())] {
            let path = testing::file(&format!("apns-no-key-{file}"), text);
            let error = ProviderToken::new(&path, "KEY", "TEAM", after(0)).unwrap_err();
            assert_eq!(error.setting(), "PARLEY_PUSH__APNS__KEY_FILE");
        }
        let missing = Path::new("/nonexistent/key.p8");
        assert!(ProviderToken::new(missing, "KEY", "TEAM", after(0)).is_err());
    }

    #[test]
    fn it_does_not_stand_in_debug_output() {
        let token = token(&EcKey::new());
        let shown = format!("{token:?} {:?}", token.get(after(0)));
        assert!(!shown.contains("bearer") && !shown.contains("eyJ"), "{shown}");
    }
}
