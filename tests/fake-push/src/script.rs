//! Outages to order: rules that meet the next requests instead of a provider's usual behaviour.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use parking_lot::Mutex;
use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{self, Arrived, Response};
use crate::apns;
use crate::google::{error, fcm_error};
use crate::options::Provider;

/// What the next requests meet. As JSON: `{"provider": "apns", "times": 3, "act": {"answer": {"status": 503}}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whose requests.
    pub provider: Provider,
    /// Only those to this device token or subscription id.
    #[serde(default)]
    pub token: Option<String>,
    /// How many requests; `None`: all until the script is cleared.
    #[serde(default)]
    pub times: Option<u64>,
    /// Milliseconds to wait before acting.
    #[serde(default)]
    pub delay_ms: u64,
    /// What is done then.
    #[serde(default)]
    pub act: Act,
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// As usual.
    #[default]
    Usual,
    /// This is answered.
    Answer(Answer),
    /// No answer: the connection stays open until the client loses its patience.
    Silence,
    /// The request is answered as usual; the connection takes no further ones (HTTP/2: GOAWAY) and closes.
    GoAway,
    /// The connection is closed at once, without GOAWAY and without answers to any of its requests.
    Close,
    /// The connection is reset (TCP RST).
    Reset,
}

/// A scripted answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Apple's `reason`, Google's `errorCode`, the token endpoint's `error`, the text of Web Push.
    #[serde(default)]
    pub reason: Option<String>,
    /// Stands in for the body that the reason would make.
    #[serde(default)]
    pub body: Option<Value>,
    /// `Retry-After`: seconds or a date.
    #[serde(default)]
    pub retry_after: Option<String>,
    /// Apple's `timestamp`, milliseconds since the epoch.
    #[serde(default)]
    pub timestamp: Option<i64>,
}

impl Answer {
    /// An answer with a status and a reason.
    pub fn new(status: u16, reason: &str) -> Self {
        Self {
            status,
            reason: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    /// With a `Retry-After` header: seconds or a date.
    pub fn after(mut self, retry_after: impl ToString) -> Self {
        self.retry_after = Some(retry_after.to_string());
        self
    }

    /// With Apple's time since which a device is gone.
    pub fn since(mut self, time: Timestamp) -> Self {
        self.timestamp = Some(time.as_millis());
        self
    }

    /// With exactly this body.
    pub fn with_body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

impl Rule {
    /// For all requests to a provider until the script is cleared.
    pub fn new(provider: Provider, act: Act) -> Self {
        Self {
            provider,
            token: None,
            times: None,
            delay_ms: 0,
            act,
        }
    }

    /// For all requests until the script is cleared: an answer.
    pub fn answer(provider: Provider, answer: Answer) -> Self {
        Self::new(provider, Act::Answer(answer))
    }

    /// Only for this device token or subscription id.
    pub fn to(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Only for the next few requests.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only after a while.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }
}

/// The rules, the oldest first; a request meets the first that fits.
#[derive(Debug, Default)]
pub(crate) struct Script {
    rules: Mutex<Vec<Rule>>,
    /// Spares requests the lock and the reading of their token while there is no script.
    any: AtomicBool,
}

impl Script {
    pub(crate) fn add(&self, rule: Rule) {
        let mut rules = self.rules.lock();
        rules.push(rule);
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        let mut rules = self.rules.lock();
        rules.clear();
        self.any.store(false, Ordering::Release);
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.rules.lock().clone()
    }

    /// The rule that the request meets, with its delay and its act.
    pub(crate) fn meet(&self, provider: Provider, token: impl FnOnce() -> String) -> Option<(Duration, Act)> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let token = token();
        let mut rules = self.rules.lock();
        let fits = |it: &Rule| it.provider == provider && it.token.as_ref().is_none_or(|it| *it == token);
        let at = rules.iter().position(fits)?;
        let rule = &mut rules[at];
        let met = (Duration::from_millis(rule.delay_ms), rule.act.clone());
        if let Some(times) = &mut rule.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                rules.remove(at);
            }
        }
        Some(met)
    }
}

/// The scripted answer in the provider's shape.
pub(crate) fn response(provider: Provider, request: &Arrived, answer: &Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = answer.reason.as_deref().unwrap_or_default();
    let response = match (provider, &answer.body) {
        (_, Some(Value::String(text))) => answer::text(status, text),
        (_, Some(body)) => answer::json(status, body),
        (Provider::Apns, None) => {
            let since = answer.timestamp.map(Timestamp::from_millis);
            let id = request.header("apns-id").unwrap_or_default();
            apns::refused(Ok(status), reason, since, id)
        }
        (Provider::Fcm, None) => error(status, reason, &[fcm_error(reason)]),
        (Provider::Webpush, None) => answer::text(status, reason),
        (Provider::Oauth, None) => answer::json(status, &serde_json::json!({ "error": reason })),
    };
    match &answer.retry_after {
        Some(it) => answer::with(response, "retry-after", it),
        None => response,
    }
}
