//! Calls about a conversation as such: its name, its members, their roles, who has read, who is online.

use reqwest::Method;
use serde_json::{Value, json};

use super::api::{Api, Reply};
use super::wait::until;

/// A change of a conversation.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    Rename(&'a str),
    Add(&'a [&'a str]),
    /// Of oneself: leaving.
    Remove(&'a str),
    Role(&'a str, &'a str),
}

impl Api {
    /// A conversation as this user sees it.
    pub async fn conversation(&self, id: &str) -> Value {
        self.get(&format!("/v1/conversations/{id}")).await.ok()
    }

    /// PATCH with any body.
    pub async fn update(&self, id: &str, body: &Value) -> Reply {
        self.patch(&format!("/v1/conversations/{id}"), body).await
    }

    pub async fn rename(&self, id: &str, name: &str) -> Reply {
        self.change(id, Change::Rename(name)).await
    }

    pub async fn add(&self, id: &str, users: &[&str]) -> Reply {
        self.change(id, Change::Add(users)).await
    }

    /// Removes a member, or leaves.
    pub async fn remove(&self, id: &str, user: &str) -> Reply {
        self.change(id, Change::Remove(user)).await
    }

    pub async fn set_role(&self, id: &str, user: &str, role: &str) -> Reply {
        self.change(id, Change::Role(user, role)).await
    }

    pub async fn change(&self, id: &str, change: Change<'_>) -> Reply {
        self.call(self.change_request(id, change)).await
    }

    /// The same to a node that may not be there.
    pub async fn try_change(&self, id: &str, change: Change<'_>) -> Option<Reply> {
        let answer = self.try_call(self.change_request(id, change));
        tokio::time::timeout(super::PATIENCE, answer).await.ok()?.ok()
    }

    /// The same again and again while there is no answer or something is away.
    pub async fn change_patiently(&self, id: &str, change: Change<'_>) -> Reply {
        until("a change to be answered", super::PATIENCE * 2, async || {
            let reply = self.try_change(id, change).await?;
            (reply.status != 503).then_some(reply)
        })
        .await
    }

    fn change_request(&self, id: &str, change: Change<'_>) -> reqwest::RequestBuilder {
        let path = format!("/v1/conversations/{id}");
        let member = |user| format!("{path}/members/{}", escaped(user));
        match change {
            Change::Rename(name) => self.request(Method::PATCH, &path).json(&json!({"name": name})),
            Change::Add(users) => self
                .request(Method::POST, &format!("{path}/members"))
                .json(&json!({"members": users})),
            Change::Remove(user) => self.request(Method::DELETE, &member(user)),
            Change::Role(user, role) => self.request(Method::PATCH, &member(user)).json(&json!({"role": role})),
        }
    }

    /// All members, page by page; `query` such as `limit=10&read=5`.
    pub async fn members(&self, id: &str, query: &str) -> Vec<Value> {
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let page = self
                .get(&format!("/v1/conversations/{id}/members?{query}{next}"))
                .await
                .ok();
            all.extend(page["members"].as_array().expect("members").iter().cloned());
            match page["next"].as_str() {
                Some(token) => next = format!("&next={}", escaped(token)),
                None => return all,
            }
        }
    }

    /// `GET /v1/presence` of those users.
    pub async fn presence(&self, users: &[&str]) -> Reply {
        let users: Vec<String> = users.iter().map(|it| escaped(it)).collect();
        self.get(&format!("/v1/presence?users={}", users.join(","))).await
    }

    /// How a user appears to this one.
    pub async fn status_of(&self, user: &str) -> Value {
        let list = self.presence(&[user]).await.ok();
        list["presence"][0]["status"].clone()
    }
}

/// Any text as one segment or value of a URL: all but the unreserved bytes are `%XX`.
pub fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
