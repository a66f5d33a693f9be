//! Everything that the listeners of one fake share.

use std::sync::atomic::AtomicU64;

use crate::devices::Devices;
use crate::keys::Keys;
use crate::oauth::Grants;
use crate::options::{Options, Ports};
use crate::records::Records;
use crate::script::Script;
use crate::subscriptions::Subscriptions;
use crate::vapid::Verified;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    /// Those that are listened at.
    pub(crate) ports: Ports,
    pub(crate) keys: Keys,
    pub(crate) token_uri: String,
    pub(crate) grants: Grants,
    pub(crate) vapid: Verified,
    pub(crate) devices: Devices,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) script: Script,
    pub(crate) records: Records,
    /// Connections so far, of all listeners.
    pub(crate) connections: AtomicU64,
    pub(crate) webpush_origin: String,
}

impl World {
    /// Origin of the endpoints of subscriptions.
    pub(crate) fn webpush_origin(&self) -> &str {
        &self.webpush_origin
    }
}
