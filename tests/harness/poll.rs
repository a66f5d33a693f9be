//! A client that knows nothing but long polling.

use serde_json::Value;

use super::api::{Api, Reply};
use super::groups::escaped;

impl Api {
    /// One poll from any cursor.
    pub async fn poll(&self, cursor: &str, timeout_ms: u64) -> Reply {
        let cursor = escaped(cursor);
        self.get(&format!("/v1/events/poll?cursor={cursor}&timeout_ms={timeout_ms}"))
            .await
    }
}

/// A run of polls, each from where the one before ended.
pub struct Poller {
    api: Api,
    pub cursor: String,
    /// All events so far.
    pub events: Vec<Value>,
}

impl Poller {
    pub fn new(api: &Api, cursor: &str) -> Self {
        Self {
            api: api.clone(),
            cursor: cursor.into(),
            events: Vec::new(),
        }
    }

    /// Polls once; the answer's `more`.
    pub async fn once(&mut self, timeout_ms: u64) -> bool {
        let page = self.api.poll(&self.cursor, timeout_ms).await.ok();
        self.events
            .extend(page["events"].as_array().expect("events").iter().cloned());
        page["cursor"].as_str().expect("a cursor").clone_into(&mut self.cursor);
        page["more"].as_bool().expect("`more` is a bool")
    }

    /// Polls until an event passes, which may have come before.
    pub async fn until(&mut self, what: &str, mut passes: impl FnMut(&Value) -> bool) {
        let deadline = std::time::Instant::now() + super::PATIENCE;
        while !self.events.iter().any(&mut passes) {
            assert!(
                std::time::Instant::now() < deadline,
                "polled in vain for {what}: {:?}",
                self.events
            );
            self.once(2_000).await;
        }
    }
}
