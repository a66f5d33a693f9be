//! One push to one device, as it waits in the stream of jobs.
//!
//! It names the device and not its token: that is read when the job is worked on, and may have moved or died by then.

use bus::subjects;
use protocol::push::Platform;
use protocol::{ConversationId, ServerId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::facts::Place;
use crate::provider::{Address, Alert, Content, Push};
use crate::records::{self, Fate, Step};
use crate::registry::Registration;
use crate::service::Service;

/// The version that this code writes, and the newest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Collapses badge updates.
const BADGE: &str = "badge";

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) v: u32,
    pub(crate) user_id: UserId,
    pub(crate) device_id: String,
    pub(crate) platform: Platform,
    /// Of Web Push the origin of the browser's push service.
    pub(crate) app: String,
    #[serde(default)]
    pub(crate) sandbox: bool,
    /// When what it tells of happened.
    pub(crate) made_at: Timestamp,
    /// Not sent after this.
    pub(crate) expires_at: Timestamp,
    /// How often it was tried.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Not tried again before this.
    #[serde(default)]
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) task: Task,
}

/// What is to be pushed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// A message.
    Message(Message),
    /// The number on the icon; `cause` tells one update from another.
    Badge { cause: u64, count: u32 },
}

/// A message as the device will show it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) conversation_id: ConversationId,
    pub(crate) seq: u64,
    pub(crate) title: String,
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) badge: Option<u32>,
    #[serde(default)]
    pub(crate) traceparent: Option<String>,
    /// What the decision to push rests on, to be looked at again when it is old.
    pub(crate) is_direct: bool,
    pub(crate) is_mention: bool,
}

impl std::fmt::Debug for Task {
    /// Without texts: no log line holds any.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(it) => write!(f, "Message({})", it.server_id()),
            Self::Badge { count, .. } => write!(f, "Badge({count})"),
        }
    }
}

impl Message {
    pub(crate) fn server_id(&self) -> ServerId {
        ServerId {
            conversation_id: self.conversation_id.clone(),
            seq: self.seq,
        }
    }
}

impl Job {
    /// What makes it one job: the device, and what it is told.
    pub(crate) fn key(&self) -> String {
        let what = match &self.task {
            Task::Message(it) => it.server_id().to_string(),
            Task::Badge { cause, .. } => format!("{BADGE}.{cause}"),
        };
        let (user, device) = (
            subjects::escape(self.user_id.as_str()),
            subjects::escape(&self.device_id),
        );
        format!("{what}/{user}/{device}")
    }

    /// The job as it waits for its next attempt, and what makes that one.
    /// `place` is that of this one in the stream: one that is replayed is retried anew.
    pub(crate) fn after_attempt(&self, number: u32, not_before: Timestamp, place: u64) -> (Self, String) {
        let next = Self {
            attempts: number,
            not_before: Some(not_before),
            ..self.clone()
        };
        let key = format!("{}/{place}", self.key());
        (next, key)
    }

    /// The id under which a provider knows it: the same for every attempt.
    pub(crate) fn push_id(&self) -> uuid::Uuid {
        let digest = Sha256::digest(self.key());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// What a later push replaces on the device.
    pub(crate) fn collapse_id(&self) -> String {
        match &self.task {
            Task::Message(it) => it.conversation_id.as_str().to_owned(),
            Task::Badge { .. } => BADGE.to_owned(),
        }
    }

    /// The W3C trace context of the decision to make it.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        match &self.task {
            Task::Message(it) => it.traceparent.as_deref(),
            Task::Badge { .. } => None,
        }
    }

    /// Whom it is for.
    pub(crate) fn device(&self) -> (UserId, String) {
        (self.user_id.clone(), self.device_id.clone())
    }

    /// The message that it tells of.
    pub(crate) fn place(&self) -> Option<Place<'_>> {
        let Task::Message(message) = &self.task else {
            return None;
        };
        Some(Place {
            user: &self.user_id,
            device: &self.device_id,
            conversation: &message.conversation_id,
            seq: message.seq,
        })
    }

    /// Whether a registration, of the app `app`, is where it goes to.
    pub(crate) fn is_for(&self, registration: &Registration, app: Option<&str>) -> bool {
        let same = registration.platform == self.platform && registration.is_sandbox() == self.sandbox;
        same && app == Some(self.app.as_str())
    }

    /// Shows no text any more: its user has switched previews off since.
    pub(crate) fn hide(&mut self, body: String) {
        if let Task::Message(message) = &mut self.task {
            message.body = body;
        }
    }

    pub(crate) fn set_badge(&mut self, number: u32) {
        match &mut self.task {
            Task::Message(message) => message.badge = Some(number),
            Task::Badge { count, .. } => *count = number,
        }
    }

    /// The push that it asks for.
    pub(crate) fn push(&self, registration: &Registration) -> Push {
        let content = match &self.task {
            Task::Message(it) => Content::Alert(Alert {
                title: it.title.clone(),
                body: it.body.clone(),
                badge: it.badge,
                sound: "default",
                category: "message",
                conversation_id: it.conversation_id.clone(),
                server_id: it.server_id().to_string(),
                seq: it.seq,
                traceparent: it.traceparent.clone(),
            }),
            Task::Badge { count, .. } => Content::Badge(*count),
        };
        Push {
            address: Address {
                token: registration.token.0.clone(),
                app: self.app.clone(),
                sandbox: self.sandbox,
            },
            id: self.push_id(),
            collapse_id: self.collapse_id(),
            expires_at: self.expires_at,
            content,
        }
    }

    /// Records what became of it; of a badge nothing is.
    pub(crate) async fn record(&self, service: &Service, step: Step) {
        let Task::Message(message) = &self.task else { return };
        let fate = Fate {
            user_id: self.user_id.clone(),
            device_id: self.device_id.clone(),
            platform: self.platform,
            step,
        };
        // Not waited for: the job itself says what is to be done, a record only what was.
        for entry in records::entries(&message.conversation_id, message.seq, vec![fate]) {
            if let Err(error) = service.bus.client.publish(entry.subject, entry.payload).await {
                metrics::counter!("parley_push_unrecorded_total").increment(1);
                tracing::debug!(%error, "what became of a push is not recorded");
            }
        }
    }

    /// The queue that it waits in: an app at a provider, and Apple's sandbox is a provider of its own.
    pub(crate) fn lane(&self) -> Lane {
        Lane::new(self.platform, &self.app, self.sandbox)
    }
}

/// A queue of jobs that stands or falls with one provider's app.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Lane {
    pub(crate) platform: Platform,
    /// As a token of subjects before it is escaped.
    pub(crate) name: String,
}

impl Lane {
    pub(crate) fn new(platform: Platform, app: &str, sandbox: bool) -> Self {
        let name = match (platform, sandbox) {
            (Platform::Webpush, _) => "browsers".to_owned(),
            (_, true) => format!("sandbox:{app}"),
            (_, false) => app.to_owned(),
        };
        Self { platform, name }
    }

    /// The lane of a subject of jobs.
    pub(crate) fn of_subject(subject: &str) -> Option<Self> {
        let (platform, name) = subjects::push_job_app(subject)?;
        Some(Self { platform, name })
    }

    pub(crate) fn subject(&self) -> String {
        subjects::push_job(self.platform, &self.name)
    }

    pub(crate) fn dead_subject(&self) -> String {
        subjects::push_dead(self.platform, &self.name)
    }

    /// Name of its durable consumer.
    pub(crate) fn consumer(&self) -> String {
        format!("{}_{}", self.platform.as_str(), subjects::escape(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(task: Task) -> Job {
        Job {
            v: VERSION,
            user_id: UserId::parse("a/b").unwrap(),
            device_id: "my phone".to_owned(),
            platform: Platform::Apns,
            app: "org.example".to_owned(),
            sandbox: true,
            made_at: Timestamp::from_millis(0),
            expires_at: Timestamp::from_millis(1),
            attempts: 0,
            not_before: None,
            task,
        }
    }

    fn message(seq: u64) -> Task {
        Task::Message(Message {
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            seq,
            title: "t".to_owned(),
            body: "secret".to_owned(),
            badge: None,
            traceparent: None,
            is_direct: false,
            is_mention: false,
        })
    }

    #[test]
    fn a_job_is_known_by_device_and_message_and_every_attempt_by_one_id() {
        let (one, two) = (job(message(1)), job(message(2)));
        assert_ne!(one.key(), two.key());
        assert_eq!(one.push_id(), job(message(1)).push_id());
        assert_eq!(one.collapse_id(), two.collapse_id());
        assert!(one.key().ends_with("/a=2Fb/my=20phone"), "{}", one.key());
        assert!(!format!("{one:?}").contains("secret"));
    }

    #[test]
    fn a_lane_is_read_back_from_its_subject() {
        let lane = job(message(1)).lane();
        assert_eq!(Lane::of_subject(&lane.subject()), Some(lane.clone()));
        assert_ne!(lane, Lane::new(Platform::Apns, "org.example", false));
    }
}
