//! What is known of requests and pushes: `Seen` of every request, `Shown` of what a phone would have shown.

use std::collections::BTreeMap;

use protocol::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::options::Provider;

/// One request.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Counts requests from 1.
    pub number: u64,
    /// When it had arrived whole.
    pub at: Timestamp,
    /// Whose behaviour it met.
    pub provider: Provider,
    /// Of APNs: whether it came to the sandbox.
    pub sandbox: bool,
    /// Device token or id of the subscription; empty where the request names none.
    pub token: String,
    /// The `apns-id` that the client chose.
    pub id: Option<String>,
    /// Collapse id, or topic of Web Push.
    pub collapse_id: Option<String>,
    /// Which connection it came over, counted from 1 over all listeners.
    pub connection: u64,
    /// What it was answered; `None`: nothing, or not yet.
    pub status: Option<u16>,
    /// Why it was not accepted.
    pub reason: Option<String>,
    /// Whether a rule of the script met it.
    pub scripted: bool,
}

/// One accepted push, as the device would get it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Counts accepted pushes from 1.
    pub number: u64,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who carried it.
    pub provider: Provider,
    /// Topic without its suffix at Apple, project at Google, origin of the endpoint at browsers.
    pub app: String,
    /// Of APNs: whether it came to the sandbox.
    pub sandbox: bool,
    /// Device token or id of the subscription.
    pub token: String,
    /// First line.
    pub title: Option<String>,
    /// The text.
    pub body: Option<String>,
    /// Number on the app's icon.
    pub badge: Option<u64>,
    /// Name of the sound.
    pub sound: Option<String>,
    /// What the app can offer to do with it; `click_action` at Google.
    pub category: Option<String>,
    /// What the device groups by; the channel at Google.
    pub thread: Option<String>,
    /// What replaces an earlier push with the same: `apns-collapse-id`, `tag` or else `collapse_key`, `Topic`.
    pub collapse_id: Option<String>,
    /// As the provider writes it: `10`, `HIGH`, `high`.
    pub priority: Option<String>,
    /// `apns-push-type`; at Google `notification` or `data`.
    pub push_type: Option<String>,
    /// Not kept for longer; `None`: as long as the provider likes.
    pub expires_at: Option<Timestamp>,
    /// Nothing to be seen but perhaps a badge, and nothing to be heard.
    pub silent: bool,
    /// What the app finds beside: all but `aps` at Apple, `data` at Google, and of a browser's JSON all that is not
    /// told above.
    pub data: BTreeMap<String, Value>,
    /// The id that the provider answered.
    pub id: String,
}

impl Shown {
    /// With everything unknown.
    pub(crate) fn new(provider: Provider, at: Timestamp) -> Self {
        Self {
            number: 0,
            at,
            provider,
            app: String::new(),
            sandbox: false,
            token: String::new(),
            title: None,
            body: None,
            badge: None,
            sound: None,
            category: None,
            thread: None,
            collapse_id: None,
            priority: None,
            push_type: None,
            expires_at: None,
            silent: false,
            data: BTreeMap::new(),
            id: String::new(),
        }
    }
}
