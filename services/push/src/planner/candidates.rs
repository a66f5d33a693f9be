//! The devices that a message may be told to, from what is set for its conversation's members.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use protocol::rpc::Audience;
use protocol::server_frame::{ConversationType, MessageIncoming};
use protocol::{Timestamp, UserId};
use telemetry::trace;
use tracing::Span;

use crate::decide::{Facts, Reason, Verdict, decide};
use crate::facts::Now;
use crate::jobs::{Job, Message, Task, VERSION};
use crate::mention;
use crate::records::{Fate, Step};
use crate::registry::Registration;
use crate::service::Service;
use crate::texts::texts;
use crate::users::User;

/// A message, and what its log entry says beside it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) message: MessageIncoming,
    pub(super) sender_name: Option<String>,
    pub(super) traceparent: Option<String>,
    /// Of deciding on it.
    pub(super) span: Span,
    pub(super) audience: Arc<Audience>,
    /// Nobody is notified of it after this.
    pub(super) expires_at: Timestamp,
}

/// One device.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) user_id: UserId,
    pub(super) user: Arc<User>,
    /// Index among the user's.
    device: usize,
    is_mention: bool,
    /// `None` where there is no key for it.
    app: Option<String>,
    /// What has come in between: he is no member any more, or the device is not registered.
    is_gone: Option<Reason>,
}

impl Candidate {
    pub(super) fn device_id(&self) -> &str {
        &self.user.devices[self.device].0
    }

    fn registration(&self) -> &Registration {
        &self.user.devices[self.device].1
    }

    /// Takes in what is so after the grace.
    pub(super) fn renew(&mut self, user: Option<&Arc<User>>, is_member: bool) {
        if let Some(user) = user {
            let device = user.devices.iter().position(|it| it.0 == self.device_id());
            match device {
                Some(device) => (self.user, self.device) = (user.clone(), device),
                None => self.is_gone = Some(Reason::Unregistered),
            }
        }
        if !is_member {
            self.is_gone = Some(Reason::NoMember);
        }
    }

    /// Decides by what is set alone, and by `now` where that is known.
    pub(super) fn decide(&self, told: &Told, now: Option<Now>, has_waited: bool) -> Verdict {
        if let Some(reason) = self.is_gone {
            return Verdict::Suppress(reason);
        }
        let at = Timestamp::now();
        let wants = self.user.wants(&told.message.conversation_id, at);
        let now = now.unwrap_or_default();
        decide(&Facts {
            is_sender: told.message.sender_id == self.user_id,
            is_expired: at >= told.expires_at,
            level: wants.level,
            is_muted: wants.is_muted,
            is_dnd: now.is_dnd,
            is_direct: told.audience.conversation_type == ConversationType::Direct,
            is_mention: self.is_mention,
            mentions_override_mute: wants.mentions_override_mute,
            direct_override_mute: wants.direct_override_mute,
            is_read: now.is_read,
            is_confirmed: now.is_confirmed,
            session: now.session,
            is_active_elsewhere: now.is_active_elsewhere,
            has_waited,
            has_provider: self.app.is_some(),
        })
    }

    /// What is recorded of it.
    pub(super) fn fate(&self, step: Step) -> Fate {
        Fate {
            user_id: self.user_id.clone(),
            device_id: self.device_id().to_owned(),
            platform: self.registration().platform,
            step,
        }
    }

    /// Counts a decision, and shows it in the message's trace.
    pub(super) fn count(&self, told: &Told, reason: Option<Reason>) {
        let platform = self.registration().platform.as_str();
        let (decision, why) = reason.map_or(("pushed", "none"), |it| ("suppressed", it.as_str()));
        let of_device = [
            ("user.id", self.user_id.as_str()),
            ("device.id", self.device_id()),
            ("parley.push.provider", platform),
            ("parley.push.reason", why),
        ];
        trace::event(&told.span, decision, of_device);
        let decision = reason.map_or("pushed", Reason::as_str);
        metrics::counter!("parley_push_decisions_total", "provider" => platform, "decision" => decision).increment(1);
    }

    /// The push.
    pub(super) fn job(&self, told: &Told, badge: Option<u32>) -> Job {
        let registration = self.registration();
        let message = &told.message;
        let shown = texts(
            message,
            told.sender_name.as_deref(),
            &told.audience,
            self.user.notifications.previews,
            registration.locale.as_deref(),
        );
        Job {
            v: VERSION,
            user_id: self.user_id.clone(),
            device_id: self.device_id().to_owned(),
            platform: registration.platform,
            app: self.app.clone().unwrap_or_default(),
            sandbox: registration.is_sandbox(),
            made_at: message.timestamp,
            expires_at: told.expires_at,
            attempts: 0,
            not_before: None,
            task: Task::Message(Message {
                conversation_id: message.conversation_id.clone(),
                seq: message.seq,
                title: shown.title,
                body: shown.body,
                badge,
                traceparent: told.traceparent.clone(),
                is_direct: told.audience.conversation_type == ConversationType::Direct,
                is_mention: self.is_mention,
            }),
        }
    }
}

/// All devices of all members, but for those for which the message is `decided` already.
pub(super) fn candidates(
    service: &Service,
    told: &Told,
    users: &HashMap<UserId, Arc<User>>,
    decided: &HashSet<(UserId, String)>,
) -> Vec<Candidate> {
    let named = mention::named(&told.message.text, &told.audience.members);
    let mut candidates = Vec::new();
    for user_id in &told.audience.members {
        let Some(user) = users.get(user_id).filter(|it| !it.devices.is_empty()) else {
            continue;
        };
        for (device, (device_id, registration)) in user.devices.iter().enumerate() {
            if !decided.is_empty() && decided.contains(&(user_id.clone(), device_id.clone())) {
                continue;
            }
            candidates.push(Candidate {
                user_id: user_id.clone(),
                user: user.clone(),
                device,
                is_mention: named.contains(user_id),
                app: service.app_of(registration),
                is_gone: None,
            });
        }
    }
    candidates
}
