//! The private port of a service that is a process of its own.

use reqwest::Method;
use serde_json::Value;

use super::api::{Api, Reply};
use super::deployment::Deployment;

/// Calls there.
pub struct Admin(Api);

impl Deployment {
    /// Of `connection-0`, `message-0`, …
    pub fn admin(&self, name: &str) -> Admin {
        Admin(Api::new(&format!("http://127.0.0.1:{}", self.port(name)), ""))
    }
}

impl Admin {
    /// `GET /v1/admin/messages/{server_id}/timeline`; `query` such as `?user=ann`.
    pub async fn timeline(&self, server_id: &str, query: &str) -> Reply {
        self.0
            .get(&format!("/v1/admin/messages/{server_id}/timeline{query}"))
            .await
    }

    pub async fn log_level(&self) -> Reply {
        self.0.get("/v1/admin/log-level").await
    }

    /// `query` such as `?for=1s`.
    pub async fn set_log_level(&self, filter: &str, query: &str) -> Reply {
        let path = format!("/v1/admin/log-level{query}");
        let request = self.0.request(Method::PUT, &path).body(filter.to_owned());
        self.0.call(request).await
    }
}

/// The steps of a timeline that are a user's, as `(device or empty, step)`, in their order.
pub fn steps_of(timeline: &Value, user: &str) -> Vec<(String, String)> {
    let steps = timeline["steps"].as_array().expect("steps").iter();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    steps
        .filter(|it| it["user_id"] == user)
        .map(|it| (text(&it["device_id"]), text(&it["step"])))
        .collect()
}
