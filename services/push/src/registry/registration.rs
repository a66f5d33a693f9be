//! How a registration is stored, and how a token is named without being shown.

use protocol::push::{Device, Environment, Platform, RegisterDevice, Token};
use protocol::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One device as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    pub(crate) platform: Platform,
    pub(crate) token: Token,
    /// As registered; the deployment's first one where it is absent.
    pub(crate) app: Option<String>,
    pub(crate) environment: Environment,
    pub(crate) locale: Option<String>,
    pub(crate) registered_at: Timestamp,
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) user_id: UserId,
    pub(crate) device_id: String,
}

/// A browser's subscription, as far as it tells one from another.
#[derive(Debug, Deserialize)]
struct Subscription {
    endpoint: String,
}

impl Registration {
    pub(crate) fn of(device: RegisterDevice, now: Timestamp) -> Self {
        Self {
            platform: device.platform,
            token: device.token,
            app: device.app_id,
            environment: device.environment.unwrap_or_default(),
            locale: device.locale,
            registered_at: now,
        }
    }

    /// As its owner sees it.
    pub(crate) fn shown(&self, device_id: &str) -> Device {
        Device {
            device_id: device_id.to_owned(),
            platform: self.platform,
            app_id: self.app.clone(),
            environment: (self.platform == Platform::Apns).then_some(self.environment),
            locale: self.locale.clone(),
            registered_at: self.registered_at,
        }
    }

    /// Whether Apple's sandbox is meant.
    pub(crate) fn is_sandbox(&self) -> bool {
        self.platform == Platform::Apns && self.environment == Environment::Sandbox
    }

    /// Names the token: the same for the same place, whatever it was registered with. Of a subscription that is its
    /// endpoint: a browser may change the keys.
    pub(crate) fn digest(&self) -> String {
        let token = &self.token.0;
        let subscription = || serde_json::from_str::<Subscription>(token).ok();
        let place = match self.platform {
            Platform::Webpush => subscription().map_or_else(|| token.clone(), |it| it.endpoint),
            // Hexadecimal: the same in both cases.
            Platform::Apns => token.to_ascii_lowercase(),
            Platform::Fcm => token.clone(),
        };
        let digest = Sha256::digest(format!("{}\0{place}", self.platform.as_str()));
        digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A stored value; `None` for what was taken away.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(payload: &[u8]) -> Option<T> {
    if payload.is_empty() {
        return None;
    }
    serde_json::from_slice(payload)
        .inspect_err(|error| {
            metrics::counter!("parley_unreadable_total", "what" => "device").increment(1);
            tracing::warn!(error = %protocol::Quiet(error), "skipped an unreadable entry of the devices");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(platform: Platform, token: &str) -> Registration {
        Registration {
            platform,
            token: Token(token.to_owned()),
            app: None,
            environment: Environment::Production,
            locale: None,
            registered_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn a_token_has_one_name_however_it_is_written() {
        let name = |platform, token: &str| registration(platform, token).digest();
        assert_eq!(name(Platform::Apns, "ABcd"), name(Platform::Apns, "abCD"));
        assert_ne!(name(Platform::Fcm, "ABcd"), name(Platform::Fcm, "abCD"));
        assert_ne!(name(Platform::Apns, "abcd"), name(Platform::Fcm, "abcd"));
        let (old, new) = (
            r#"{"endpoint":"https://a","keys":{"auth":"1"}}"#,
            r#"{"keys":{"auth":"2"},"endpoint":"https://a"}"#,
        );
        assert_eq!(name(Platform::Webpush, old), name(Platform::Webpush, new));
    }
}
