//! Browsers' push services: each subscription names its own, so that there is a client per origin.
//!
//! Left out: pushes without a notification. Browsers allow none, and show one of their own for each.

mod answer;
mod payload;
mod subscription;
#[cfg(test)]
mod tests;
mod vapid;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use moka::sync::Cache;
use protocol::Timestamp;
use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use web_push::{ContentEncoding, WebPushMessageBuilder};

use super::guard::is_public;
use super::http2::{Client, Outgoing, Target, Timeouts};
use super::{Alert, Answer, Content, Provider, Push};
pub(crate) use subscription::Subscription;
use vapid::Vapid;

/// Push services that are spoken to at once, at most. There are a handful; each is kept for as long as it is used.
const ORIGINS_MOST: u64 = 256;

/// A push service that is not used for so long is forgotten.
const ORIGIN_IDLE: Duration = Duration::from_secs(15 * 60);

/// Seconds; push services keep nothing for longer.
const TTL_MOST: i64 = 28 * 24 * 60 * 60;

/// Characters of a topic.
const TOPIC_MOST: usize = 32;

/// Browsers' push services.
#[derive(Debug)]
pub(crate) struct Webpush {
    tls: Arc<ClientConfig>,
    clients: Cache<String, Client>,
    vapid: Vapid,
    allow_private: bool,
}

impl Webpush {
    /// `None` without a key. Reads the key file; connects to nobody yet.
    pub(crate) fn new(config: &config::Webpush, tls: &Arc<ClientConfig>) -> anyhow::Result<Option<Self>> {
        let (Some(key_file), Some(subject)) = (&config.key_file, &config.subject) else {
            return Ok(None);
        };
        let clients = Cache::builder().max_capacity(ORIGINS_MOST).time_to_idle(ORIGIN_IDLE);
        Ok(Some(Self {
            tls: tls.clone(),
            clients: clients.build(),
            vapid: Vapid::new(key_file, subject)?,
            allow_private: config.allow_private,
        }))
    }

    /// For `PushManager.subscribe`.
    pub(crate) fn public_key(&self) -> &str {
        self.vapid.public_key()
    }

    async fn attempt(&self, push: &Push, now: Timestamp) -> Answer {
        let refused = |reason: String| Answer::Refused { reason };
        let Content::Alert(alert) = &push.content else {
            return refused("browsers take no push without a notification".to_owned());
        };
        let subscription = match Subscription::parse(&push.address.token, self.allow_private) {
            Ok(subscription) => subscription,
            Err(reason) => return refused(reason),
        };
        let prepared = self
            .request(push, alert, &subscription, now)
            .and_then(|request| Ok((request, self.client(&subscription)?)));
        let (request, client) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return refused(error.to_string()),
        };
        match client.send(&request).await {
            Ok(reply) => answer::judge(&reply, now),
            Err(error) => error.into(),
        }
    }

    fn client(&self, to: &Subscription) -> anyhow::Result<Client> {
        let origin = &to.endpoint.origin;
        if let Some(client) = self.clients.get(origin) {
            return Ok(client);
        }
        let mut target = Target::new("webpush", origin, self.tls.clone())?;
        if !self.allow_private {
            target = target.permitting(is_public);
        }
        Ok(self
            .clients
            .get_with_by_ref(origin, || Client::new(target, Timeouts::default())))
    }

    fn request(&self, push: &Push, alert: &Alert, to: &Subscription, now: Timestamp) -> anyhow::Result<Outgoing> {
        let plain = payload::payload(alert, &push.collapse_id)?;
        let mut builder = WebPushMessageBuilder::new(&to.info);
        builder.set_payload(ContentEncoding::Aes128Gcm, &plain);
        builder.set_vapid_signature(self.vapid.signature(to, now)?);
        let message = builder.build()?;
        let Some(payload) = message.payload else {
            anyhow::bail!("no payload");
        };
        let ttl = (push.expires_at.as_millis() - now.as_millis()) / 1_000;
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert("ttl", ttl.clamp(0, TTL_MOST).into());
        headers.insert("urgency", HeaderValue::from_static("high"));
        headers.insert("topic", HeaderValue::try_from(topic(&push.collapse_id))?);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        let encoding = HeaderValue::from_static(payload.content_encoding.to_str());
        headers.insert(header::CONTENT_ENCODING, encoding);
        for (name, value) in payload.crypto_headers {
            let mut value = HeaderValue::try_from(value)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name)?, value);
        }
        Ok(Outgoing {
            path: to.endpoint.path.clone(),
            headers,
            body: Bytes::from(payload.content),
        })
    }
}

impl Provider for Webpush {
    fn push<'a>(&'a self, push: &'a Push) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.attempt(push, Timestamp::now()))
    }
}

/// A hash: a push service learns nothing of the conversation, and takes few characters.
fn topic(collapse_id: &str) -> String {
    let mut topic = URL_SAFE_NO_PAD.encode(Sha256::digest(collapse_id));
    topic.truncate(TOPIC_MOST);
    topic
}
