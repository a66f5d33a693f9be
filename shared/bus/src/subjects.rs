//! Names of subjects and streams, built by typed functions so that no text from a client stands in one unescaped.

use protocol::push::Platform;
use protocol::rpc::ReceiptKind;
use protocol::{ConversationId, UserId};

/// One stream of the log, in the fixed order in which a cursor lists them: the partitions, then the receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A partition of conversations.
    Chat(u16),
    /// The watermarks of all conversations.
    Receipts,
}

impl Lane {
    /// All lanes of a log with so many partitions, in cursor order.
    pub fn all(partitions: u16) -> impl Iterator<Item = Self> {
        (0..partitions).map(Self::Chat).chain([Self::Receipts])
    }

    /// Place in a cursor.
    pub fn index(self, partitions: u16) -> usize {
        match self {
            Self::Chat(partition) => usize::from(partition),
            Self::Receipts => usize::from(partitions),
        }
    }

    /// The stream's name.
    pub fn stream(self) -> String {
        match self {
            Self::Chat(partition) => format!("CHAT_{partition}"),
            Self::Receipts => "RECEIPTS".to_owned(),
        }
    }

    /// The subject that all of the lane's entries match.
    pub fn wildcard(self) -> String {
        match self {
            Self::Chat(partition) => format!("chat.log.{partition}.*"),
            Self::Receipts => "chat.receipt.*.*.*".to_owned(),
        }
    }

    /// The subject, with a wildcard for receipts, that a conversation's entries in this lane match.
    pub fn conversation(self, id: &ConversationId) -> String {
        match self {
            Self::Chat(partition) => format!("chat.log.{partition}.{}", id.as_str()),
            Self::Receipts => format!("chat.receipt.{}.*.*", id.as_str()),
        }
    }
}

/// Stream of memberships: one entry for each user and conversation.
pub const MEMBERS_STREAM: &str = "MEMBERS";
/// What the stream of memberships takes.
pub const MEMBERS_WILDCARD: &str = "chat.member.*.*";
/// KV bucket with what a deployment was made with.
pub const SETTINGS_BUCKET: &str = "PARLEY";
/// Name of the connection service to NATS; it has no endpoints.
pub const CONNECTION_SERVICE: &str = "parley-connection";
/// Name under which the message service answers the NATS services API.
pub const MESSAGE_SERVICE: &str = "parley-message";
/// Name under which the presence service answers the NATS services API.
pub const PRESENCE_SERVICE: &str = "parley-presence";
/// Name under which the push service answers the NATS services API.
pub const PUSH_SERVICE: &str = "parley-push";
/// Where answers to a program come in. Each service has its own prefix, so that permissions can keep one service from
/// reading what another is answered; everything else is an operator's and has the common one.
pub fn inbox_prefix(program: &str) -> &'static str {
    match program {
        CONNECTION_SERVICE => "_INBOX_connection",
        MESSAGE_SERVICE => "_INBOX_message",
        PRESENCE_SERVICE => "_INBOX_presence",
        PUSH_SERVICE => "_INBOX_push",
        _ => "_INBOX",
    }
}

/// KV bucket of the presence service: what users chose to appear as, and when they were last seen.
pub const PRESENCE_BUCKET: &str = "PRESENCE";

/// Key of the status that a user chose.
pub fn status_key(user: &UserId) -> String {
    format!("status.{}", escape(user.as_str()))
}

/// Keys of the statuses that users chose.
pub const STATUS_KEYS: &str = "status.*";

/// Whose status such a key holds.
pub fn status_user(key: &str) -> Option<UserId> {
    UserId::parse(&unescape(key.strip_prefix("status.")?)?)
}

/// Key that says that a connection node lives. `node` is an id of ours: letters and digits.
pub fn node_key(node: &str) -> String {
    format!("node.{node}")
}

/// Keys of the connection nodes that live.
pub const NODE_KEYS: &str = "node.*";

/// Key of when a user was last seen.
pub fn seen_key(user: &UserId) -> String {
    format!("seen.{}", escape(user.as_str()))
}

/// A conversation's subject in the log.
pub fn log(id: &ConversationId, partitions: u16) -> (Lane, String) {
    let lane = Lane::Chat(id.partition(partitions));
    (lane, lane.conversation(id))
}

/// The subject of one watermark of one user in one conversation.
pub fn receipt(id: &ConversationId, user: &UserId, kind: ReceiptKind) -> String {
    let kind = match kind {
        ReceiptKind::Delivered => "delivered",
        ReceiptKind::Read => "read",
    };
    format!("chat.receipt.{}.{}.{kind}", id.as_str(), escape(user.as_str()))
}

/// The subject of one membership.
pub fn membership(user: &UserId, id: &ConversationId) -> String {
    format!("chat.member.{}.{}", escape(user.as_str()), id.as_str())
}

/// The subject that all memberships of a user match.
pub fn memberships(user: &UserId) -> String {
    format!("chat.member.{}.*", escape(user.as_str()))
}

/// The subject of a service's endpoint.
pub fn endpoint(service: &str, endpoint: &str) -> String {
    format!("chat.rpc.{service}.{endpoint}")
}

/// Live signals from the presence service, to all connection nodes.
pub const PRESENCE_SIGNALS: &str = "chat.live.presence";
/// Typing, from connection nodes to any one presence replica, which passes on what may be seen.
pub const TYPING_SIGNALS: &str = "chat.live.typing";
/// Asks all connection nodes to beat at once: a presence replica has just started.
pub const PRESENCE_HELLO: &str = "chat.presence.hello";
/// A presence replica has just learnt everything: nodes compare what they have told their clients.
pub const PRESENCE_READY: &str = "chat.presence.ready";
/// All reports of all nodes.
pub const PRESENCE_REPORTS: &str = "chat.presence.report.*";

/// The subject of a connection node's reports and beats. `node` is an id of ours: letters and digits.
pub fn presence_report(node: &str) -> String {
    format!("chat.presence.report.{node}")
}

/// The subject on which a connection node is asked for a snapshot.
pub fn presence_snapshot(node: &str) -> String {
    format!("chat.presence.snapshot.{node}")
}

/// Asks all connection nodes what they have handed to sockets of a message; each answers to the reply subject.
pub const TIMELINE_HANDED: &str = "chat.timeline.handed";

/// The beats of all replicas of the presence service.
pub const PRESENCE_REPLICAS: &str = "chat.presence.replica.*";

/// The subject of the beats of a replica of the presence service. `replica` is an id of ours: letters and digits.
pub fn presence_replica(replica: &str) -> String {
    format!("chat.presence.replica.{replica}")
}

/// Stream of what push knows of devices: registrations, owners of tokens, users' settings, and what devices that may be
/// asleep have confirmed. One entry a subject.
pub const DEVICES_STREAM: &str = "DEVICES";
/// What the stream of devices takes.
pub const DEVICES_SUBJECTS: [&str; 5] = [
    "push.device.*.*",
    "push.token.*",
    "push.settings.*",
    "push.settings.*.*",
    "push.confirmed.*.*.*",
];
/// Registrations and settings: what is cached by user.
pub const DEVICE_CHANGES: [&str; 3] = ["push.device.*.*", "push.settings.*", "push.settings.*.*"];

/// A device's registration.
pub fn device(user: &UserId, device: &str) -> String {
    format!("push.device.{}.{}", escape(user.as_str()), escape(device))
}

/// All registrations of a user.
pub fn devices(user: &UserId) -> String {
    format!("push.device.{}.*", escape(user.as_str()))
}

/// Whose a token is. `digest` is that of the token: letters and digits.
pub fn token(digest: &str) -> String {
    format!("push.token.{digest}")
}

/// What a user wants to be notified of, in all conversations.
pub fn notifications(user: &UserId) -> String {
    format!("push.settings.{}", escape(user.as_str()))
}

/// What a user wants to be notified of in one conversation.
pub fn conversation_notifications(user: &UserId, id: &ConversationId) -> String {
    format!("push.settings.{}.{}", escape(user.as_str()), id.as_str())
}

/// The same of all of a user's conversations.
pub fn all_conversation_notifications(user: &UserId) -> String {
    format!("push.settings.{}.*", escape(user.as_str()))
}

/// The user whom a subject of [`DEVICE_CHANGES`] is about.
pub fn changed_user(subject: &str) -> Option<UserId> {
    let rest = subject.strip_prefix("push.")?;
    let mut tokens = rest.split('.');
    let kind = tokens.next()?;
    let user = tokens.next()?;
    matches!(kind, "device" | "settings")
        .then(|| unescape(user))
        .flatten()
        .and_then(|user| UserId::parse(&user))
}

/// What a device has confirmed of a conversation.
pub fn confirmed(user: &UserId, device: &str, id: &ConversationId) -> String {
    format!(
        "push.confirmed.{}.{}.{}",
        escape(user.as_str()),
        escape(device),
        id.as_str()
    )
}

/// What all of a user's devices have confirmed of a conversation.
pub fn confirmed_of(user: &UserId, id: &ConversationId) -> String {
    format!("push.confirmed.{}.*.{}", escape(user.as_str()), id.as_str())
}

/// Whose confirmation a subject of [`confirmed`] is, and of which device.
pub fn confirmed_by(subject: &str) -> Option<(UserId, String)> {
    let mut tokens = subject.strip_prefix("push.confirmed.")?.split('.');
    let (user, device) = (tokens.next()?, tokens.next()?);
    Some((UserId::parse(&unescape(user)?)?, unescape(device)?))
}

/// The subject that all watermarks of a conversation match.
pub fn receipts(id: &ConversationId) -> String {
    Lane::Receipts.conversation(id)
}

/// Whose watermark a subject of [`receipt`] is, and whether it is the one of what was read.
pub fn receipt_of(subject: &str) -> Option<(UserId, ReceiptKind)> {
    let mut tokens = subject.strip_prefix("chat.receipt.")?.split('.').skip(1);
    let user = UserId::parse(&unescape(tokens.next()?)?)?;
    let kind = match tokens.next()? {
        "delivered" => ReceiptKind::Delivered,
        "read" => ReceiptKind::Read,
        _ => return None,
    };
    Some((user, kind))
}

/// Work-queue stream of the pushes to be made.
pub const PUSH_JOBS_STREAM: &str = "PUSH_JOBS";
/// What the stream of jobs takes.
pub const PUSH_JOBS_WILDCARD: &str = "push.job.*.*";
/// Stream of the pushes that were given up.
pub const PUSH_DEAD_STREAM: &str = "PUSH_DEAD";
/// What the stream of dead letters takes.
pub const PUSH_DEAD_WILDCARD: &str = "push.dead.*.*";
/// Stream of what was decided for each message and device, and what came of it.
pub const PUSH_RECORDS_STREAM: &str = "PUSH_RECORDS";
/// What the stream of records takes.
pub const PUSH_RECORDS_WILDCARD: &str = "push.record.*.*";

/// Jobs of one app at one provider.
pub fn push_job(platform: Platform, app: &str) -> String {
    format!("push.job.{}.{}", platform.as_str(), escape(app))
}

/// Provider and app of a subject of jobs.
pub fn push_job_app(subject: &str) -> Option<(Platform, String)> {
    let (platform, app) = subject.strip_prefix("push.job.")?.split_once('.')?;
    let platform = Platform::ALL.into_iter().find(|it| it.as_str() == platform)?;
    Some((platform, unescape(app)?))
}

/// Dead letters of one app at one provider.
pub fn push_dead(platform: Platform, app: &str) -> String {
    format!("push.dead.{}.{}", platform.as_str(), escape(app))
}

/// What was decided for a message.
pub fn push_record(id: &ConversationId, seq: u64) -> String {
    format!("push.record.{}.{seq}", id.as_str())
}

/// What a subject is of, without whom and which: its first two tokens, as names of spans must be few.
pub fn template(subject: &str) -> &str {
    let second = subject.match_indices('.').nth(1);
    second.map_or(subject, |(end, _)| &subject[..end])
}

/// On which a replica of a service, as callers name it, says that it takes no more requests.
pub fn leaving(service: &str) -> String {
    format!("chat.leaving.{service}")
}

/// All of those.
pub const LEAVING_WILDCARD: &str = "chat.leaving.*";

/// Any text as one subject token: letters, digits, `_` and `-` stand for themselves, every other byte is `=XX`.
pub fn escape(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            token.push(char::from(byte));
        } else {
            token.push('=');
            token.push(char::from(HEX[usize::from(byte >> 4)]));
            token.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    token
}

/// The text that a token of [`escape`] stands for. `None` of what is no such token.
pub fn unescape(token: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), token.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'=' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_escaped_text_is_one_token_and_comes_back(text in "\\PC{1,40}|[.*> \\t]{1,10}") {
            let token = escape(&text);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"=_-".contains(&b)));
            prop_assert_eq!(unescape(&token), Some(text));
        }
    }

    #[test]
    fn what_a_subject_of_push_is_about_is_read_back() {
        let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let user = UserId::parse("a.b *").unwrap();
        for subject in [
            device(&user, "my phone"),
            notifications(&user),
            conversation_notifications(&user, &id),
        ] {
            assert_eq!(changed_user(&subject), Some(user.clone()), "{subject}");
        }
        assert_eq!(changed_user(&confirmed(&user, "d", &id)), None);
        let by = confirmed_by(&confirmed(&user, "my phone", &id));
        assert_eq!(by, Some((user.clone(), "my phone".to_owned())));
        let of = receipt_of(&receipt(&id, &user, ReceiptKind::Delivered));
        assert_eq!(of, Some((user, ReceiptKind::Delivered)));
        let job = push_job(Platform::Apns, "org.example.app");
        assert_eq!(push_job_app(&job), Some((Platform::Apns, "org.example.app".into())));
    }

    #[test]
    fn a_user_named_like_a_wildcard_has_a_subject_of_his_own() {
        let id = ConversationId::parse("g00000000000000000000000000000000").unwrap();
        let user = UserId::parse("*.>").unwrap();
        assert_eq!(
            receipt(&id, &user, ReceiptKind::Read),
            "chat.receipt.g00000000000000000000000000000000.=2A=2E=3E.read"
        );
        assert_eq!(memberships(&user), "chat.member.=2A=2E=3E.*");
    }
}
