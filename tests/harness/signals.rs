//! Live signals on a socket: subscribing to a room, and what is told of who is there and who is writing.

use serde_json::{Value, json};

use super::client::Client;

/// Frames that are told to subscribers and never stored.
pub const SIGNALS: [&str; 5] = [
    "user:joined",
    "user:left",
    "typing:started",
    "typing:stopped",
    "presence",
];

impl Client {
    /// Subscribes to a room; the answer.
    pub async fn subscribe(&self, room: &str) -> Value {
        self.ask_room("subscribe", room, "subscribed").await
    }

    pub async fn unsubscribe(&self, room: &str) -> Value {
        self.ask_room("unsubscribe", room, "unsubscribed").await
    }

    async fn ask_room(&self, kind: &str, room: &str, answer: &str) -> Value {
        let mark = super::client_id();
        self.send(json!({"type": kind, "conversation_id": room, "ref": mark}))
            .await;
        let answers = |it: &Value| it["ref"] == mark.as_str();
        let frame = self.frames.frame(&format!("the answer to {kind}"), answers).await;
        assert_eq!(frame["type"], answer, "{frame}");
        frame
    }

    /// Sends a frame that only names a room, such as `typing:start`.
    pub async fn send_room(&self, kind: &str, room: &str) {
        self.send(json!({"type": kind, "conversation_id": room, "ref": kind}))
            .await;
    }

    /// Sets the user's status, to which there is no answer.
    pub async fn set_status(&self, status: &str) {
        self.send(json!({"type": "presence:set", "status": status, "ref": status}))
            .await;
    }

    /// Waits for the next signal of that kind, room and user.
    pub async fn expect_signal(&self, kind: &str, room: &str, user: &str) -> Value {
        let wanted = |it: &Value| it["type"] == kind && it["conversation_id"] == room && it["user_id"] == user;
        self.frames.frame(&format!("{kind} of {user}"), wanted).await
    }

    /// Waits until the socket is told that a user has that status.
    pub async fn expect_status(&self, user: &str, status: &str) -> Value {
        let wanted = |it: &Value| it["type"] == "presence" && it["user_id"] == user && it["status"] == status;
        self.frames.frame(&format!("{user} to be {status}"), wanted).await
    }

    /// All signals so far, taken or not.
    pub fn signals(&self) -> Vec<Value> {
        let mut all = self.frames.all();
        all.retain(|it| SIGNALS.iter().any(|kind| it["type"] == *kind));
        all
    }

    /// All signals of one kind about one user so far, taken or not.
    pub fn signals_of(&self, kind: &str, user: &str) -> Vec<Value> {
        let mut all = self.signals();
        all.retain(|it| it["type"] == kind && it["user_id"] == user);
        all
    }

    /// The statuses of a user that the socket was told so far, in order.
    pub fn statuses_of(&self, user: &str) -> Vec<String> {
        let status = |it: &Value| it["status"].as_str().expect("a status is a string").to_owned();
        self.signals_of("presence", user).iter().map(status).collect()
    }
}
