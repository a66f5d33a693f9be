//! What is known of device tokens: which app and environment each belongs to, and which are gone.

use std::collections::HashMap;

use parking_lot::Mutex;
use protocol::Timestamp;

/// Tokens that are learned at most; of further ones nothing is known.
const LEARNED_MOST: usize = 1_000_000;

/// Which app a token belongs to at Apple, and in which environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) app: String,
    pub(crate) sandbox: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Devices {
    homes: Mutex<HashMap<String, Home>>,
    gone: Mutex<HashMap<String, Timestamp>>,
}

impl Devices {
    /// Since when the token is gone, if it is.
    pub(crate) fn gone_since(&self, token: &str) -> Option<Timestamp> {
        self.gone.lock().get(token).copied()
    }

    /// Where the token belongs, if that is known.
    pub(crate) fn with_home<T>(&self, token: &str, ask: impl FnOnce(&Home) -> T) -> Option<T> {
        self.homes.lock().get(token).map(ask)
    }

    /// Says where a token belongs.
    pub(crate) fn settle(&self, token: &str, home: Home) {
        let mut homes = self.homes.lock();
        if homes.len() < LEARNED_MOST || homes.contains_key(token) {
            homes.insert(token.to_owned(), home);
        }
    }

    pub(crate) fn uninstall(&self, token: &str, since: Timestamp) {
        self.gone.lock().insert(token.to_owned(), since);
    }

    /// As if the token had never been seen.
    pub(crate) fn forget(&self, token: &str) {
        self.gone.lock().remove(token);
        self.homes.lock().remove(token);
    }
}
