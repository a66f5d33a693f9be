//! Apple's push service: one request per push, with a token that all requests share.
//!
//! Left out: certificates instead of tokens, live activities, calls.

mod answer;
mod payload;
#[cfg(test)]
mod tests;
mod token;

use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use config::ConfigError;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use protocol::Timestamp;
use rustls::ClientConfig;

use super::http2::{Client, Outgoing, Target, Timeouts};
use super::{Address, Answer, Content, Provider, Push};
use answer::Judged;
use token::{ProviderToken, TOO_SOON};

static TOPIC: HeaderName = HeaderName::from_static("apns-topic");
static PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
static PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
static EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
static COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
static ID: HeaderName = HeaderName::from_static("apns-id");

/// Apple.
#[derive(Debug)]
pub(crate) struct Apns {
    production: Client,
    sandbox: Client,
    token: ProviderToken,
    apps: Vec<String>,
}

impl Apns {
    /// `None` without a key. Reads the key file; connects to nobody yet.
    pub(crate) fn new(config: &config::Apns, tls: &Arc<ClientConfig>, now: Timestamp) -> anyhow::Result<Option<Self>> {
        let (Some(key_file), Some(key_id), Some(team_id)) = (&config.key_file, &config.key_id, &config.team_id) else {
            return Ok(None);
        };
        let client = |setting: &str, url: &str| {
            Target::new("apns", url, tls.clone())
                .map(|it| Client::new(it, Timeouts::default()))
                .map_err(|it| ConfigError::new(setting, format!("{url:?}: {it}")))
        };
        Ok(Some(Self {
            production: client("PARLEY_PUSH__APNS__URL", &config.url)?,
            sandbox: client("PARLEY_PUSH__APNS__SANDBOX_URL", &config.sandbox_url)?,
            token: ProviderToken::new(key_file, key_id, team_id, now)?,
            apps: config.apps.clone(),
        }))
    }

    /// Bundle ids that may be pushed to.
    pub(crate) fn apps(&self) -> &[String] {
        &self.apps
    }

    async fn attempt(&self, push: &Push, now: Timestamp) -> Answer {
        if !self.apps.contains(&push.address.app) {
            return Answer::Refused {
                reason: "the app is not among the settings' apps".to_owned(),
            };
        }
        let Some(path) = path(&push.address) else {
            return Answer::Gone {
                reason: "not a device token".to_owned(),
                since: None,
            };
        };
        let client = if push.address.sandbox {
            &self.sandbox
        } else {
            &self.production
        };
        let mut request = match request(push, path) {
            Ok(request) => request,
            Err(error) => {
                return Answer::Refused {
                    reason: error.to_string(),
                };
            }
        };
        let mut token = match self.token.get(now) {
            Ok(token) => token,
            Err(error) => return our_fault(&error),
        };
        // Once more with a new token if Apple takes ours for too old.
        for _ in 0..2 {
            request.headers.insert(header::AUTHORIZATION, token.clone());
            let reply = match client.send(&request).await {
                Ok(reply) => reply,
                Err(error) => return error.into(),
            };
            match answer::judge(&reply, now) {
                Judged::Answer(answer) => return answer,
                Judged::TokenExpired => match self.token.renewed(&token, now) {
                    Ok(renewed) => token = renewed,
                    Err(error) => return our_fault(&error),
                },
            }
        }
        our_fault(&"Apple does not take a new token: is the clock right?")
    }
}

impl Provider for Apns {
    fn push<'a>(&'a self, push: &'a Push) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.attempt(push, Timestamp::now()))
    }
}

fn our_fault(reason: &dyn std::fmt::Display) -> Answer {
    Answer::OurFault {
        reason: reason.to_string(),
        after: Some(TOO_SOON),
    }
}

/// `None` for what cannot be a token: it stands in a path, and comes from a client.
fn path(address: &Address) -> Option<PathAndQuery> {
    let token = &address.token;
    if token.is_empty() || !token.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return None;
    }
    PathAndQuery::try_from(format!("/3/device/{token}")).ok()
}

fn request(push: &Push, path: PathAndQuery) -> anyhow::Result<Outgoing> {
    // Apple counts a badge among the interactions, so that its push type is `alert` too: `background` is for what no
    // user notices.
    let priority = match &push.content {
        Content::Alert(_) => "10",
        Content::Badge(_) => "5",
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(&TOPIC, HeaderValue::try_from(&push.address.app).context("topic")?);
    headers.insert(&PUSH_TYPE, HeaderValue::from_static("alert"));
    headers.insert(&PRIORITY, HeaderValue::from_static(priority));
    headers.insert(
        &EXPIRATION,
        unindexed((push.expires_at.as_millis().max(0) / 1_000).into()),
    );
    let collapse_id = HeaderValue::try_from(&push.collapse_id).context("collapse id")?;
    headers.insert(&COLLAPSE_ID, unindexed(collapse_id));
    let mut id = uuid::Uuid::encode_buffer();
    let id = HeaderValue::from_str(push.id.hyphenated().encode_lower(&mut id))?;
    headers.insert(&ID, unindexed(id));
    Ok(Outgoing {
        path,
        headers,
        body: Bytes::from(payload::payload(&push.content)?),
    })
}

/// Apple asks that what differs from push to push stays out of its small table of headers.
fn unindexed(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}
