//! What all parts of the service have at hand.

use std::sync::Arc;

use bus::{Bus, Log};
use protocol::Refusal;
use protocol::push::Platform;

use crate::audiences::Audiences;
use crate::jobs::Lanes;
use crate::provider::{Providers, Subscription};
use crate::registry::{Registration, Registry};
use crate::users::Users;

/// The service's parts.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) bus: Bus,
    pub(crate) log: Log,
    pub(crate) stream: config::Stream,
    pub(crate) settings: config::Push,
    pub(crate) registry: Registry,
    pub(crate) users: Arc<Users>,
    pub(crate) audiences: Audiences,
    pub(crate) providers: Providers,
    pub(crate) lanes: Lanes,
}

impl Service {
    pub(crate) fn new(bus: Bus, stream: config::Stream, settings: config::Push, providers: Providers) -> Self {
        Self {
            log: Log::new(bus.clone(), stream.partitions),
            registry: Registry::new(bus.clone()),
            users: Arc::new(Users::new(bus.clone())),
            audiences: Audiences::new(bus.clone()),
            lanes: Lanes::new(),
            bus,
            stream,
            settings,
            providers,
        }
    }

    /// The app that a device is pushed to as, of a browser the origin of its push service; `None` where there is no key for
    /// it.
    pub(crate) fn app_of(&self, registration: &Registration) -> Option<String> {
        self.providers.get(registration.platform)?;
        if registration.platform == Platform::Webpush {
            // Whether it may be connected to is for the provider to say.
            let subscription = Subscription::parse(&registration.token.0, true).ok()?;
            return Some(subscription.endpoint.origin);
        }
        let apps = self.providers.apps(registration.platform);
        match &registration.app {
            None => apps.first().cloned(),
            Some(app) => apps.contains(app).then(|| app.clone()),
        }
    }
}

/// What the user is told when NATS is away; what exactly happened is for the operator.
pub(crate) fn unavailable(error: &dyn std::fmt::Display) -> Refusal {
    tracing::debug!(%error, "answered unavailable");
    Refusal::unavailable("a back end is away for the moment: repeat the same request")
}
