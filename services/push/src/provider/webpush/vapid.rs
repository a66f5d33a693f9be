//! Who we are to a push service (VAPID, RFC 8292): a JWT per origin, signed by `web-push`, used for half of its time.

use std::fmt::{self, Debug};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::ConfigError;
use moka::sync::Cache;
use protocol::Timestamp;
use web_push::{PartialVapidSignatureBuilder, VapidSignature, VapidSignatureBuilder, WebPushError};

use super::ORIGINS_MOST;
use super::subscription::Subscription;

/// The crate signs for twelve hours.
const AGE_MOST: Duration = Duration::from_secs(6 * 60 * 60);

pub(super) struct Vapid {
    key: PartialVapidSignatureBuilder,
    subject: String,
    public_key: String,
    /// By origin.
    signatures: Cache<String, Signed>,
}

#[derive(Clone)]
struct Signed {
    signature: VapidSignature,
    at: Timestamp,
}

impl Debug for Vapid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vapid")
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}

impl Vapid {
    /// Reads the key.
    ///
    /// # Errors
    /// The file cannot be read or holds no such key.
    pub(super) fn new(key_file: &Path, subject: &str) -> Result<Self, ConfigError> {
        let invalid = |problem: &str| {
            ConfigError::new(
                "PARLEY_PUSH__WEBPUSH__KEY_FILE",
                format!("{}: {problem}", key_file.display()),
            )
        };
        let pem = std::fs::read(key_file).map_err(|it| invalid(&it.to_string()))?;
        let key = VapidSignatureBuilder::from_pem_no_sub(pem.as_slice())
            .map_err(|_| invalid("no PEM of an EC P-256 private key"))?;
        Ok(Self {
            public_key: URL_SAFE_NO_PAD.encode(key.get_public_key()),
            key,
            subject: subject.to_owned(),
            signatures: Cache::new(ORIGINS_MOST),
        })
    }

    /// For `PushManager.subscribe`: base64url of the point.
    pub(super) fn public_key(&self) -> &str {
        &self.public_key
    }

    pub(super) fn signature(&self, to: &Subscription, now: Timestamp) -> Result<VapidSignature, WebPushError> {
        let origin = &to.endpoint.origin;
        if let Some(signed) = self.signatures.get(origin)
            && is_young(signed.at, now)
        {
            return Ok(signed.signature);
        }
        let mut builder = self.key.clone().add_sub_info(&to.info);
        // Of itself the crate leaves the port out.
        builder.add_claim("aud", origin.as_str());
        builder.add_claim("sub", self.subject.as_str());
        let signature = builder.build()?;
        let signed = Signed {
            signature: signature.clone(),
            at: now,
        };
        self.signatures.insert(origin.clone(), signed);
        Ok(signature)
    }
}

/// One from the future is of a clock that was put back.
fn is_young(signed_at: Timestamp, now: Timestamp) -> bool {
    let age = now.as_millis() - signed_at.as_millis();
    u64::try_from(age).is_ok_and(|it| Duration::from_millis(it) < AGE_MOST)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    use super::*;
    use crate::provider::testing::{self, Browser, EcKey};

    const START: i64 = 1_800_000_000_000;

    fn hours(hours: i64) -> Timestamp {
        Timestamp::from_millis(START + hours * 3_600_000)
    }

    fn vapid(key: &EcKey) -> Vapid {
        Vapid::new(&key.file("vapid"), "mailto:push@example.org").unwrap()
    }

    fn subscription(endpoint: &str) -> Subscription {
        Subscription::parse(&Browser::new().subscription(endpoint), true).unwrap()
    }

    #[test]
    fn the_audience_is_the_origin_with_its_port() {
        let key = EcKey::new();
        let vapid = vapid(&key);
        for (endpoint, audience) in [
            ("https://push.example.org/x", "https://push.example.org"),
            ("https://push.example.org:443/x", "https://push.example.org"),
            ("https://push.example.org:8443/x", "https://push.example.org:8443"),
        ] {
            let signature = vapid.signature(&subscription(endpoint), hours(0)).unwrap();
            let mut validation = Validation::new(Algorithm::ES256);
            validation.set_audience(&[audience]);
            let verifying = DecodingKey::from_ec_der(&key.public_point());
            let read = jsonwebtoken::decode::<Value>(&signature.auth_t, &verifying, &validation).unwrap();
            assert_eq!(read.claims["aud"], audience);
            assert_eq!(read.claims["sub"], "mailto:push@example.org");
            let left = read.claims["exp"].as_i64().unwrap() - Timestamp::now().as_millis() / 1_000;
            assert!((11 * 3_600..=12 * 3_600).contains(&left), "{left}");
            assert_eq!(signature.auth_k, key.public_point());
        }
    }

    #[test]
    fn a_signature_is_kept_per_origin_for_six_hours() {
        let vapid = vapid(&EcKey::new());
        let (one, two) = (subscription("https://a.example/1"), subscription("https://a.example/2"));
        let other = subscription("https://b.example/1");
        let first = vapid.signature(&one, hours(0)).unwrap();
        assert_eq!(vapid.signature(&two, hours(5)).unwrap(), first);
        assert_ne!(vapid.signature(&other, hours(5)).unwrap().auth_t, first.auth_t);
        assert_ne!(vapid.signature(&one, hours(6)).unwrap().auth_t, first.auth_t);
    }

    #[test]
    fn browsers_are_given_the_point() {
        let key = EcKey::new();
        assert_eq!(vapid(&key).public_key(), URL_SAFE_NO_PAD.encode(key.public_point()));
    }

    #[test]
    fn a_file_without_a_key_is_an_error_of_its_setting() {
        for text in ["hello".to_owned(), testing::rsa_pem()] {
            let file = testing::file(&format!("vapid-no-key-{}", text.len()), &text);
            let error = Vapid::new(&file, "mailto:push@example.org").unwrap_err();
            assert_eq!(error.setting(), "PARLEY_PUSH__WEBPUSH__KEY_FILE");
        }
    }
}
