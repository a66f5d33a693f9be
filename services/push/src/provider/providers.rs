//! All providers that the settings have a key for.

use protocol::Timestamp;
use protocol::push::Platform;

use super::apns::Apns;
use super::fcm::Fcm;
use super::tls::{self, Versions};
use super::webpush::Webpush;
use super::{Provider, roots};

/// The providers. One without a key is off.
#[derive(Debug)]
pub(crate) struct Providers {
    apns: Option<Apns>,
    fcm: Option<Fcm>,
    webpush: Option<Webpush>,
}

impl Providers {
    /// Reads keys and certificates; connects to nobody yet.
    ///
    /// # Errors
    /// A [`config::ConfigError`] of the setting whose file cannot be used.
    pub(crate) fn new(config: &config::Push) -> anyhow::Result<Self> {
        let roots = roots::load(config.ca_file.as_deref())?;
        let http2 = tls::config(roots.clone(), Versions::Http2)?;
        let either = tls::config(roots, Versions::Http2OrHttp1)?;
        Ok(Self {
            apns: Apns::new(&config.apns, &http2, Timestamp::now())?,
            fcm: Fcm::new(&config.fcm, &http2)?,
            webpush: Webpush::new(&config.webpush, &either)?,
        })
    }

    /// `None` where it is off.
    pub(crate) fn get(&self, platform: Platform) -> Option<&dyn Provider> {
        match platform {
            Platform::Apns => self.apns.as_ref().map(|it| it as &dyn Provider),
            Platform::Fcm => self.fcm.as_ref().map(|it| it as &dyn Provider),
            Platform::Webpush => self.webpush.as_ref().map(|it| it as &dyn Provider),
        }
    }

    /// Bundle ids or projects that may be pushed to, the default one first; none of browsers, and none where it is off.
    pub(crate) fn apps(&self, platform: Platform) -> &[String] {
        match platform {
            Platform::Apns => self.apns.as_ref().map_or(&[], Apns::apps),
            Platform::Fcm => self.fcm.as_ref().map_or(&[], Fcm::apps),
            Platform::Webpush => &[],
        }
    }

    /// For `PushManager.subscribe` in a browser: base64url of an uncompressed point.
    pub(crate) fn vapid_public_key(&self) -> Option<&str> {
        self.webpush.as_ref().map(Webpush::public_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::testing::EcKey;

    #[test]
    fn without_keys_all_are_off() {
        let providers = Providers::new(&config::Push::default()).unwrap();
        for platform in Platform::ALL {
            assert!(providers.get(platform).is_none());
            assert!(providers.apps(platform).is_empty());
        }
        assert_eq!(providers.vapid_public_key(), None);
    }

    #[test]
    fn a_key_turns_its_provider_on() {
        let key = EcKey::new();
        let config = config::Push {
            apns: config::Apns {
                key_file: Some(key.file("providers")),
                key_id: Some("KEY".to_owned()),
                team_id: Some("TEAM".to_owned()),
                apps: vec!["org.example.app".to_owned()],
                ..config::Apns::default()
            },
            webpush: config::Webpush {
                key_file: Some(key.file("providers")),
                subject: Some("mailto:push@example.org".to_owned()),
                allow_private: false,
            },
            ..config::Push::default()
        };
        let providers = Providers::new(&config).unwrap();
        assert!(providers.get(Platform::Apns).is_some());
        assert_eq!(providers.apps(Platform::Apns), ["org.example.app"]);
        assert!(providers.get(Platform::Fcm).is_none());
        assert!(providers.get(Platform::Webpush).is_some());
        // 65 bytes.
        assert_eq!(providers.vapid_public_key().map(str::len), Some(87));
    }

    #[test]
    fn a_mistake_is_an_error_of_its_setting() {
        let config = config::Push {
            ca_file: Some("/nonexistent/ca.pem".into()),
            ..config::Push::default()
        };
        let error = Providers::new(&config).unwrap_err();
        let error = error.downcast::<config::ConfigError>().unwrap();
        assert_eq!(error.setting(), "PARLEY_PUSH__CA_FILE");
    }
}
