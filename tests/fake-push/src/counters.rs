//! What the fakes count. Counting goes on when nothing else is recorded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::options::Provider;

/// Totals since the start or the last [`clear_records`](crate::FakePush::clear_records).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Apple.
    pub apns: Counts,
    /// Google.
    pub fcm: Counts,
    /// Browsers.
    pub webpush: Counts,
    /// Google's token endpoint; its `accepted` are the access tokens that were issued.
    pub oauth: Counts,
    /// TLS handshakes that failed, on any listener.
    pub handshakes_failed: u64,
}

/// Totals of one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections that completed their handshake. Those of the token endpoint count with its listener.
    pub connections: u64,
    /// Of these, the ones that are open now.
    pub open: u64,
    /// Requests that arrived whole.
    pub requests: u64,
    /// Requests that were accepted.
    pub accepted: u64,
    /// Requests that a rule of the script answered, or left without an answer.
    pub scripted: u64,
    /// Requests to devices that are gone, or to no subscription.
    pub gone: u64,
    /// Requests refused for a mistake of the client, by reason.
    pub refused: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) scripted: AtomicU64,
    pub(crate) gone: AtomicU64,
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub(crate) fn refuse(&self, reason: &str) {
        *self.refused.lock().entry(reason.to_owned()).or_default() += 1;
    }

    fn read(&self) -> Counts {
        let of = |it: &AtomicU64| it.load(Ordering::Relaxed);
        Counts {
            connections: of(&self.connections),
            open: of(&self.open),
            requests: of(&self.requests),
            accepted: of(&self.accepted),
            scripted: of(&self.scripted),
            gone: of(&self.gone),
            refused: self.refused.lock().clone(),
        }
    }

    /// All but what is open.
    fn clear(&self) {
        for it in [
            &self.connections,
            &self.requests,
            &self.accepted,
            &self.scripted,
            &self.gone,
        ] {
            it.store(0, Ordering::Relaxed);
        }
        self.refused.lock().clear();
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tallies {
    apns: Tally,
    fcm: Tally,
    webpush: Tally,
    oauth: Tally,
    pub(crate) handshakes_failed: AtomicU64,
}

impl Tallies {
    pub(crate) fn of(&self, provider: Provider) -> &Tally {
        match provider {
            Provider::Apns => &self.apns,
            Provider::Fcm => &self.fcm,
            Provider::Webpush => &self.webpush,
            Provider::Oauth => &self.oauth,
        }
    }

    pub(crate) fn read(&self) -> Counters {
        Counters {
            apns: self.apns.read(),
            fcm: self.fcm.read(),
            webpush: self.webpush.read(),
            oauth: self.oauth.read(),
            handshakes_failed: self.handshakes_failed.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn clear(&self) {
        for provider in Provider::ALL {
            self.of(provider).clear();
        }
        self.handshakes_failed.store(0, Ordering::Relaxed);
    }
}
