//! A browser's subscription, as `PushSubscription.toJSON()` writes it: where to push to, and the keys that the payload
//! is encrypted for.

use std::fmt::{self, Debug};

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use web_push::{SubscriptionInfo, SubscriptionKeys};

use crate::provider::guard::{Endpoint, check_endpoint};

/// Browsers leave padding out, and some clients' libraries do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of a point on P-256 that is not compressed.
const POINT_BYTES: usize = 65;
const SECRET_BYTES: usize = 16;

/// A subscription that can be pushed to. Without `Debug` of its keys and its path.
pub(crate) struct Subscription {
    pub(crate) endpoint: Endpoint,
    pub(super) info: SubscriptionInfo,
}

impl Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("origin", &self.endpoint.origin)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// Reads a subscription. Resolves no name.
    ///
    /// # Errors
    /// What is wrong with it, to be shown to the client.
    pub(crate) fn parse(json: &str, allow_private: bool) -> Result<Self, String> {
        let no_subscription = "the token is no subscription: { endpoint, keys: { p256dh, auth } }";
        let info: SubscriptionInfo = serde_json::from_str(json).map_err(|_| no_subscription.to_owned())?;
        let endpoint = check_endpoint(&info.endpoint, allow_private)?;
        let point = decode(&info.keys.p256dh).filter(|it| is_point(it).unwrap_or(false));
        let point = point.ok_or("keys.p256dh is no point on P-256 of 65 bytes in base64url")?;
        let secret = decode(&info.keys.auth).filter(|it| it.len() == SECRET_BYTES);
        let secret = secret.ok_or("keys.auth is not 16 bytes in base64url")?;
        // The crate decodes them again, and takes no padding.
        let keys = SubscriptionKeys {
            p256dh: URL_SAFE_NO_PAD.encode(point),
            auth: URL_SAFE_NO_PAD.encode(secret),
        };
        Ok(Self {
            endpoint,
            info: SubscriptionInfo { keys, ..info },
        })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

fn is_point(bytes: &[u8]) -> Result<bool, ErrorStack> {
    if bytes.len() != POINT_BYTES || bytes.first() != Some(&4) {
        return Ok(false);
    }
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, bytes, &mut context)?;
    point.is_on_curve(&group, &mut context)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::testing::EcKey;

    fn subscription() -> Value {
        json!({
            "endpoint": "https://push.example.org/secret",
            "expirationTime": null,
            "keys": {
                "p256dh": URL_SAFE_NO_PAD.encode(EcKey::new().public_point()),
                "auth": URL_SAFE_NO_PAD.encode([7; 16]),
            },
        })
    }

    fn parse(value: &Value) -> Result<Subscription, String> {
        Subscription::parse(&value.to_string(), false)
    }

    #[test]
    fn a_browsers_subscription_is_read() {
        let read = parse(&subscription()).unwrap();
        assert_eq!(read.endpoint.origin, "https://push.example.org");
        let shown = format!("{read:?}");
        assert!(!shown.contains("secret") && !shown.contains("p256dh"), "{shown}");
    }

    #[test]
    fn padding_does_no_harm() {
        let mut padded = subscription();
        let key = padded["keys"]["auth"].as_str().unwrap().to_owned();
        padded["keys"]["auth"] = format!("{key}==").into();
        assert_eq!(parse(&padded).unwrap().info.keys.auth, key);
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        let mut off_curve = EcKey::new().public_point();
        off_curve[64] ^= 1;
        let mut compressed = EcKey::new().public_point();
        compressed.truncate(33);
        compressed[0] = 2;
        for (field, value) in [
            ("p256dh", URL_SAFE_NO_PAD.encode(off_curve)),
            ("p256dh", URL_SAFE_NO_PAD.encode(compressed)),
            ("p256dh", URL_SAFE_NO_PAD.encode([4; 65])),
            ("p256dh", String::new()),
            ("p256dh", "!".to_owned()),
            ("auth", URL_SAFE_NO_PAD.encode([7; 15])),
            ("auth", URL_SAFE_NO_PAD.encode([7; 17])),
            ("auth", "!".to_owned()),
        ] {
            let mut wrong = subscription();
            wrong["keys"][field] = value.clone().into();
            let error = parse(&wrong).unwrap_err();
            assert!(error.contains(field), "{field} {value}: {error}");
        }
    }

    #[test]
    fn what_is_no_subscription_is_refused() {
        for text in ["", "token", "{}", "[]", r#"{"endpoint":"https://push.example.org/"}"#] {
            assert!(Subscription::parse(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn a_private_endpoint_is_refused_unless_it_is_allowed() {
        let mut private = subscription();
        private["endpoint"] = "https://10.0.0.1/x".into();
        assert!(Subscription::parse(&private.to_string(), false).is_err());
        assert!(Subscription::parse(&private.to_string(), true).is_ok());
    }
}
