//! What the service answers: registering devices, and what users want to be notified of.

use protocol::push::{Devices, Environment, Platform, PushInfo, RegisterDevice as Registration};
use protocol::rpc::{ListDevices, ReadPushInfo, RegisterDevice, Registered, RemoveDevice};
use protocol::{Code, Refusal, Timestamp};

use crate::provider::Subscription;
use crate::service::{Service, unavailable};

/// Apple says that tokens may grow; they are 32 bytes today.
const APNS_DIGITS: std::ops::RangeInclusive<usize> = 64..=200;
/// Google's are some 200 characters; they may grow.
const FCM_CHARACTERS: std::ops::RangeInclusive<usize> = 16..=4_096;

impl Service {
    /// Registers a device.
    ///
    /// # Errors
    /// `invalid` for a token or app that cannot be pushed to; `unavailable`.
    pub(crate) async fn register(&self, request: RegisterDevice) -> Result<Registered, Refusal> {
        let mut device = request.device;
        self.check(&device)?;
        if device.platform != Platform::Apns {
            device.environment = None;
        } else if device.environment.is_none() {
            device.environment = Some(Environment::default());
        }
        if device.platform == Platform::Webpush {
            device.app_id = None;
        } else if device.app_id.is_none() {
            // The first one of today: another order of the settings must not send old tokens to another app.
            device.app_id = self.providers.apps(device.platform).first().cloned();
        }
        let registered = self.registry.register(&request.user_id, device, Timestamp::now()).await;
        let (device, created) = registered.map_err(|error| unavailable(&error))?;
        Ok(Registered { device, created })
    }

    fn check(&self, device: &Registration) -> Result<(), Refusal> {
        let token = device.token.0.as_str();
        match device.platform {
            Platform::Apns => {
                let is_hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !is_hex || !APNS_DIGITS.contains(&token.len()) {
                    return Err(Refusal::invalid("`token` of APNs is 64 to 200 hexadecimal digits"));
                }
            }
            Platform::Fcm => {
                let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
                if !is_plain || !FCM_CHARACTERS.contains(&token.len()) {
                    return Err(Refusal::invalid(
                        "`token` of FCM is 16 to 4096 characters without spaces",
                    ));
                }
            }
            Platform::Webpush => Subscription::parse(token, self.settings.webpush.allow_private)
                .map(drop)
                .map_err(|problem| Refusal::invalid(format!("`token`: {problem}")))?,
        }
        let apps = self.providers.apps(device.platform);
        let app = device.app_id.as_ref();
        // Without a key nobody knows which apps there will be.
        if app.is_some_and(|app| !apps.is_empty() && !apps.contains(app)) {
            return Err(Refusal::invalid(
                "`app_id` is none of the apps that this deployment pushes to",
            ));
        }
        Ok(())
    }

    /// Lists a user's devices.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn devices(&self, request: ListDevices) -> Result<Devices, Refusal> {
        let devices = self.registry.list(&request.user_id).await;
        let devices = devices.map_err(|error| unavailable(&error))?;
        Ok(Devices { devices })
    }

    /// Forgets a device.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub(crate) async fn remove(&self, request: RemoveDevice) -> Result<(), Refusal> {
        let removed = self.registry.remove(&request.user_id, &request.device_id).await;
        match removed.map_err(|error| unavailable(&error))? {
            true => Ok(()),
            false => Err(Refusal::new(Code::NotFound, "no such device of yours is registered")),
        }
    }

    /// What this deployment can push to.
    ///
    /// # Errors
    /// None.
    pub(crate) async fn info(&self, _: ReadPushInfo) -> Result<PushInfo, Refusal> {
        let platforms = Platform::ALL.into_iter().filter(|it| self.providers.get(*it).is_some());
        Ok(PushInfo {
            platforms: platforms.collect(),
            application_server_key: self.providers.vapid_public_key().map(str::to_owned),
        })
    }
}
