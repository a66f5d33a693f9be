//! The HTTP side of the contract, as one user.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wait::until;

/// How long any call may take: a little more than the longest poll.
const ANSWER_PATIENCE: Duration = Duration::from_secs(75);

/// Calls with one user's token.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub content_type: String,
    pub took: Duration,
}

impl Reply {
    /// The body of a 200 or 201.
    pub fn ok(self) -> Value {
        assert!(matches!(self.status, 200 | 201), "{} {}", self.status, self.body);
        self.body
    }

    /// Asserts that this is a problem document with that status and code.
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert!(
            self.content_type.starts_with("application/problem+json"),
            "{}",
            self.content_type
        );
        assert_eq!(
            self.body["status"], status,
            "RFC 9457: the status is repeated: {}",
            self.body
        );
        assert!(self.body["title"].is_string(), "RFC 9457: a title: {}", self.body);
    }
}

impl Api {
    /// `base` is a node's `http://HOST:PORT`.
    pub fn new(base: &str, token: &str) -> Self {
        let http = reqwest::Client::builder()
            .timeout(ANSWER_PATIENCE)
            .build()
            .expect("an HTTP client");
        Self {
            base: base.into(),
            token: token.into(),
            http,
        }
    }

    /// The same user at another node.
    pub fn at(&self, base: &str) -> Self {
        Self::new(base, &self.token)
    }

    /// The same calls with another token; empty sends none.
    pub fn with_token(&self, token: &str) -> Self {
        Self::new(&self.base, token)
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(self.http.get(self.url(path))).await
    }

    /// A GET with headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = self.http.get(self.url(path));
        let request = headers
            .iter()
            .fold(request, |it, (name, value)| it.header(*name, *value));
        self.call(request).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(self.http.post(self.url(path)).json(body)).await
    }

    /// A POST of any bytes, said to be JSON.
    pub async fn post_bytes(&self, path: &str, body: Vec<u8>) -> Reply {
        self.call(
            self.http
                .post(self.url(path))
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    /// A GET with query parameters to be escaped.
    pub async fn query(&self, path: &str, query: &[(&str, &str)]) -> Reply {
        self.call(self.http.get(self.url(path)).query(query)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.call(self.http.patch(self.url(path)).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call(self.http.delete(self.url(path))).await
    }

    /// A GET that may get no answer, as from a node that is not there.
    pub async fn try_get(&self, path: &str) -> Option<Reply> {
        self.try_call(self.http.get(self.url(path))).await.ok()
    }

    /// A GET whose answer is read bit by bit.
    pub(super) async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Result<reqwest::Response> {
        // One that never ends must outlive the patience for a call.
        let http = reqwest::Client::builder().build().expect("an HTTP client");
        let mut request = http.get(self.url(path));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = tokio::time::timeout(super::PATIENCE, request.send()).await;
        answer.expect("an answer in time")
    }

    pub(super) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.url(path))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) async fn call(&self, request: reqwest::RequestBuilder) -> Reply {
        self.try_call(request)
            .await
            .unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    pub(super) async fn try_call(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
        let began = Instant::now();
        let request = if self.token.is_empty() {
            request
        } else {
            request.bearer_auth(&self.token)
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let content_type = answer
            .headers()
            .get("content-type")
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default();
        let content_type = content_type.to_owned();
        let bytes = answer.bytes().await?;
        let took = began.elapsed();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Reply {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
            content_type,
            took,
        })
    }

    /// Creates or finds the direct conversation with another user; its id.
    pub async fn direct(&self, other: &str) -> String {
        id_of(
            &self
                .post("/v1/conversations", &json!({"type": "direct", "members": [other]}))
                .await
                .ok(),
        )
    }

    /// Creates a group; its id.
    pub async fn group(&self, others: &[&str]) -> String {
        let body = json!({"type": "group", "name": "a group", "members": others});
        id_of(&self.post("/v1/conversations", &body).await.ok())
    }

    /// Sends over HTTP.
    pub async fn send(&self, conversation: &str, body: &Value) -> Reply {
        self.post(&format!("/v1/conversations/{conversation}/messages"), body)
            .await
    }

    /// Sends a text under a fresh client id; the ack.
    pub async fn say(&self, conversation: &str, text: &str) -> Value {
        self.send(conversation, &json!({"client_id": super::client_id(), "text": text}))
            .await
            .ok()
    }

    /// A GET that is repeated while a back end is away.
    pub async fn get_patiently(&self, path: &str) -> Value {
        until("an answer", Duration::from_secs(25), async || {
            let reply = self.get(path).await;
            (reply.status != 503).then_some(reply)
        })
        .await
        .ok()
    }

    /// A page of history; `query` such as `before=5&limit=2`.
    pub async fn history(&self, conversation: &str, query: &str) -> Reply {
        self.get(&format!("/v1/conversations/{conversation}/messages?{query}"))
            .await
    }

    /// The whole history, newest first, page by page.
    pub async fn history_backwards(&self, conversation: &str, limit: u32) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let before = all.last().map_or(String::new(), |it| format!("&before={}", it["seq"]));
            if !self
                .history_page(conversation, &format!("limit={limit}{before}"), &mut all)
                .await
            {
                return all;
            }
        }
    }

    /// The whole history, oldest first, page by page.
    pub async fn history_forwards(&self, conversation: &str, limit: u32) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or("0".into(), |it| it["seq"].to_string());
            if !self
                .history_page(conversation, &format!("limit={limit}&after={after}"), &mut all)
                .await
            {
                return all;
            }
        }
    }

    async fn history_page(&self, conversation: &str, query: &str, all: &mut Vec<Value>) -> bool {
        let page = self
            .get_patiently(&format!("/v1/conversations/{conversation}/messages?{query}"))
            .await;
        let messages = page["messages"].as_array().expect("messages");
        all.extend(messages.iter().cloned());
        let more = page["more"].as_bool().expect("`more` is a bool");
        assert!(
            !more || !messages.is_empty(),
            "an empty page that promises more would never end: {query}"
        );
        more
    }

    /// Everything since a cursor or time, page by page: the events and the last cursor.
    pub async fn since(&self, since: &str, limit: u32) -> (Vec<Value>, String) {
        let (mut all, mut since, limit) = (Vec::new(), since.to_owned(), limit.to_string());
        loop {
            let page = self
                .query("/v1/messages", &[("since", &since), ("limit", &limit)])
                .await
                .ok();
            all.extend(page["events"].as_array().expect("events").iter().cloned());
            page["cursor"].as_str().expect("a cursor").clone_into(&mut since);
            if !page["more"].as_bool().expect("`more` is a bool") {
                return (all, since);
            }
        }
    }
}

fn id_of(conversation: &Value) -> String {
    conversation["conversation_id"]
        .as_str()
        .unwrap_or_else(|| panic!("no conversation_id: {conversation}"))
        .into()
}
