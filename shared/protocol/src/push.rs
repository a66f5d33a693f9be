//! HTTP bodies of push registration and of what users want to be notified of.

use serde::{Deserialize, Deserializer, Serialize};

use crate::Timestamp;

/// Who carries a notification to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Apple Push Notification service.
    Apns,
    /// Firebase Cloud Messaging.
    Fcm,
    /// The push service of the user's browser.
    Webpush,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Apns, Self::Fcm, Self::Webpush];

    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Fcm => "fcm",
            Self::Webpush => "webpush",
        }
    }
}

/// Which of Apple's two worlds a token is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Apps from the store, and from TestFlight.
    #[default]
    Production,
    /// Apps from a developer's machine.
    Sandbox,
}

/// A device's token, a secret: whoever has it can write on the device's screen. Of Web Push it is the subscription,
/// taken as an object or as its text.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text)),
            object @ serde_json::Value::Object(_) => Ok(Self(object.to_string())),
            _ => Err(serde::de::Error::custom(
                "`token` must be a text, or a subscription of a browser",
            )),
        }
    }
}

/// Body of `POST /v1/devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDevice {
    /// The device, as its sockets name it.
    pub device_id: String,
    /// Who carries notifications to it.
    pub platform: Platform,
    /// Where.
    pub token: Token,
    /// Bundle id at Apple, project at Google; the deployment's first one where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Of Apple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// Language of the texts that are not the sender's, as BCP 47: `de`, `pt-BR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
}

/// A registered device, as its owner sees it: without the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// As registered.
    pub device_id: String,
    /// As registered.
    pub platform: Platform,
    /// As registered, or the deployment's first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Of Apple.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// As registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// When it was last registered.
    pub registered_at: Timestamp,
}

/// Answer of `GET /v1/devices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// The caller's, the one registered last first.
    pub devices: Vec<Device>,
}

/// Answer of `GET /v1/push`: what this deployment can push to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushInfo {
    /// Providers with a key.
    pub platforms: Vec<Platform>,
    /// For `PushManager.subscribe` in a browser: the application server's key, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_server_key: Option<String>,
}

/// Which messages of a conversation a user wants to be notified of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// All.
    #[default]
    All,
    /// Those that name him.
    Mentions,
    /// None.
    None,
}

/// Answer of `GET` and of `PATCH /v1/conversations/{id}/notifications`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationNotifications {
    /// Which messages.
    #[serde(default)]
    pub level: Level,
    /// Nothing is pushed, but for what the user has made an exception of.
    #[serde(default)]
    pub muted: bool,
    /// The end of it; without one it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

/// Answer of `GET` and of `PATCH /v1/notifications`: of all of a user's conversations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notifications {
    /// Whether notifications show what was written.
    pub previews: bool,
    /// Messages that name the user are pushed from muted conversations too.
    pub mentions_override_mute: bool,
    /// Messages of direct conversations are pushed although they, or all, are muted.
    pub direct_override_mute: bool,
    /// All conversations are muted.
    pub muted: bool,
    /// The end of it; without one it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

impl Default for Notifications {
    fn default() -> Self {
        Self {
            previews: true,
            mentions_override_mute: false,
            direct_override_mute: false,
            muted: false,
            muted_until: None,
        }
    }
}

/// Body of `PATCH /v1/notifications`: what is absent stays as it is. `muted` without a `muted_until` has no end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateNotifications {
    /// See [`Notifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previews: Option<bool>,
    /// See [`Notifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions_override_mute: Option<bool>,
    /// See [`Notifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_override_mute: Option<bool>,
    /// See [`Notifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// See [`Notifications`]; mutes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

/// Body of `PATCH /v1/conversations/{id}/notifications`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateConversationNotifications {
    /// See [`ConversationNotifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// See [`ConversationNotifications`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// See [`ConversationNotifications`]; mutes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
}

/// A mute as it is after an update: what was, what the update says of it, and until when.
fn muted(was: (bool, Option<Timestamp>), muted: Option<bool>, until: Option<Timestamp>) -> (bool, Option<Timestamp>) {
    match (muted, until) {
        (Some(false), _) => (false, None),
        (_, Some(until)) => (true, Some(until)),
        (Some(true), None) => (true, None),
        (None, None) => was,
    }
}

impl ConversationNotifications {
    /// Whether the conversation is muted at a time.
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.muted && self.muted_until.is_none_or(|until| now < until)
    }

    /// Forgets a mute that has ended.
    pub fn expire(&mut self, now: Timestamp) {
        if !self.is_muted(now) {
            (self.muted, self.muted_until) = (false, None);
        }
    }

    /// Takes an update in.
    pub fn update(&mut self, with: &UpdateConversationNotifications) {
        self.level = with.level.unwrap_or(self.level);
        let was = (self.muted, self.muted_until);
        (self.muted, self.muted_until) = muted(was, with.muted, with.muted_until);
    }
}

impl Notifications {
    /// Whether all conversations are muted at a time.
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.muted && self.muted_until.is_none_or(|until| now < until)
    }

    /// Forgets a mute that has ended.
    pub fn expire(&mut self, now: Timestamp) {
        if !self.is_muted(now) {
            (self.muted, self.muted_until) = (false, None);
        }
    }

    /// Takes an update in.
    pub fn update(&mut self, with: &UpdateNotifications) {
        self.previews = with.previews.unwrap_or(self.previews);
        self.mentions_override_mute = with.mentions_override_mute.unwrap_or(self.mentions_override_mute);
        self.direct_override_mute = with.direct_override_mute.unwrap_or(self.direct_override_mute);
        let was = (self.muted, self.muted_until);
        (self.muted, self.muted_until) = muted(was, with.muted, with.muted_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_text_or_a_subscription_and_is_shown_nowhere() {
        let body = |token: &str| {
            let text = format!(r#"{{"device_id":"d","platform":"webpush","token":{token}}}"#);
            serde_json::from_str::<RegisterDevice>(&text)
        };
        assert_eq!(body(r#""abc""#).unwrap().token.0, "abc");
        let object = body(r#"{"endpoint":"https://a","keys":{"p256dh":"x","auth":"y"}}"#).unwrap();
        assert!(object.token.0.contains(r#""endpoint":"https://a""#));
        assert!(!format!("{object:?}").contains("https"));
        assert!(body("7").is_err());
    }

    #[test]
    fn a_mute_has_an_end_or_none_and_is_lifted() {
        let (early, end) = (Timestamp::from_millis(1), Timestamp::from_millis(10));
        let mut mine = ConversationNotifications::default();
        mine.update(&UpdateConversationNotifications {
            muted_until: Some(end),
            ..Default::default()
        });
        assert!(mine.is_muted(early) && !mine.is_muted(end));
        mine.update(&UpdateConversationNotifications {
            muted: Some(true),
            ..Default::default()
        });
        assert!(mine.is_muted(end) && mine.muted_until.is_none());
        mine.update(&UpdateConversationNotifications {
            level: Some(Level::Mentions),
            ..Default::default()
        });
        assert!(mine.is_muted(end));
        mine.update(&UpdateConversationNotifications {
            muted: Some(false),
            ..Default::default()
        });
        assert!(!mine.is_muted(early) && mine.level == Level::Mentions);
    }
}
