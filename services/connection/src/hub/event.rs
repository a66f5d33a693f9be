//! A log entry as this node holds it: decoded once, its frame encoded never, its bytes shared by all who get it.

use std::borrow::Cow;

use protocol::envelope::{self, Told, Unreadable};
use protocol::limits::FRAME_BYTES;
use protocol::rpc::ReceiptKind;
use protocol::{ClientId, ConversationId, Timestamp, UserId};
use serde_json::Value;
use serde_json::value::RawValue;
use telemetry::trace::Origin;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::trace::Trace;

/// One entry of the log.
#[derive(Debug)]
pub struct Event {
    /// Index of its lane.
    pub lane: usize,
    /// Its sequence in the lane's stream.
    pub position: u64,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Its place in the conversation; of a receipt, the watermark.
    pub seq: u64,
    /// When the server took it.
    pub timestamp: Timestamp,
    /// What it is.
    pub kind: Kind,
    /// The frame, as every recipient gets it.
    pub frame: Utf8Bytes,
    /// Of one that is traced.
    pub trace: Option<Box<Trace>>,
}

/// What an event is, as far as delivery cares.
#[derive(Debug)]
pub enum Kind {
    /// A message, and the id that its sender gave it.
    Message(UserId, ClientId),
    /// A new conversation with its members.
    Created(Vec<UserId>),
    /// Another name, other settings, other roles.
    Updated,
    /// New members, and the frame as they get it: with the conversation, which the others know.
    Added(Vec<UserId>, Utf8Bytes),
    /// Members no more.
    Removed(Vec<UserId>),
    /// A watermark of a user.
    Receipt {
        /// Whose.
        user: UserId,
        /// Which.
        kind: ReceiptKind,
        /// Who is told besides himself, where that is not everybody.
        to: Option<Vec<Told>>,
    },
}

impl Kind {
    /// `type` of the event's frame.
    pub fn frame_type(&self) -> &'static str {
        match self {
            Self::Message(..) => "message:incoming",
            Self::Created(_) => "conversation:created",
            Self::Updated => "conversation:updated",
            Self::Added(..) => "member:added",
            Self::Removed(_) => "member:removed",
            Self::Receipt {
                kind: ReceiptKind::Delivered,
                ..
            } => "message:delivered",
            Self::Receipt {
                kind: ReceiptKind::Read,
                ..
            } => "message:read",
        }
    }
}

impl Event {
    /// Reads a log entry.
    ///
    /// # Errors
    /// [`Unreadable`]: skip it and count it.
    pub fn parse(lane: usize, position: u64, payload: &[u8]) -> Result<Self, Unreadable> {
        let (envelope, head) = envelope::decode(payload)?;
        let receipt = |user, kind| Kind::Receipt {
            user,
            kind,
            to: envelope.to,
        };
        let frame = fitting(envelope.frame.get());
        // In order, so that each recipient is found among thousands at once.
        let users = head.user_ids.map(sorted);
        let kind = match (&*head.event_type, head.sender_id, head.client_id, head.user_id) {
            ("message:incoming", Some(sender), Some(client_id), _) => Kind::Message(sender, client_id),
            ("message:delivered", _, _, Some(user)) => receipt(user, ReceiptKind::Delivered),
            ("message:read", _, _, Some(user)) => receipt(user, ReceiptKind::Read),
            ("conversation:created", ..) => Kind::Created(sorted(head.members.ok_or(Unreadable::UnknownEvent)?)),
            ("conversation:updated", ..) => Kind::Updated,
            ("member:added", ..) => {
                let frame = with_conversation(&frame, envelope.conversation.map(RawValue::get));
                Kind::Added(users.ok_or(Unreadable::UnknownEvent)?, frame)
            }
            ("member:removed", ..) => Kind::Removed(users.ok_or(Unreadable::UnknownEvent)?),
            _ => return Err(Unreadable::UnknownEvent),
        };
        Ok(Self {
            lane,
            position,
            conversation_id: head.conversation_id,
            seq: head.seq,
            timestamp: head.timestamp,
            kind,
            frame: frame.as_ref().into(),
            trace: Origin::inside(envelope.traceparent.as_deref()).map(Trace::new),
        })
    }

    /// Whose membership it changes, in the order of their ids.
    pub fn changes(&self) -> &[UserId] {
        match &self.kind {
            Kind::Created(users) | Kind::Added(users, _) | Kind::Removed(users) => users,
            Kind::Message(..) | Kind::Updated | Kind::Receipt { .. } => &[],
        }
    }

    /// The frame as this user gets it.
    pub fn frame_for(&self, user: &UserId) -> &Utf8Bytes {
        match &self.kind {
            Kind::Added(users, frame) if users.binary_search(user).is_ok() => frame,
            _ => &self.frame,
        }
    }

    /// Bytes that this event takes in memory, about.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 320;
        const USER: usize = 64;
        let more = match &self.kind {
            Kind::Added(users, frame) => users.len() * USER + frame.len(),
            Kind::Receipt { to: Some(to), .. } => to.len() * USER,
            _ => self.changes().len() * USER,
        };
        self.frame.len() + more + OVERHEAD
    }
}

fn sorted(mut users: Vec<UserId>) -> Vec<UserId> {
    users.sort_unstable();
    users
}

/// A frame that names thousands of users, with as many of them as a frame may have bytes for, and how many there are: some
/// clients take no more than a megabyte, and would meet the same frame again at every resume.
fn fitting(frame: &str) -> Cow<'_, str> {
    if frame.len() <= FRAME_BYTES {
        return frame.into();
    }
    let Ok(mut object) = serde_json::from_str::<serde_json::Map<String, Value>>(frame) else {
        return frame.into();
    };
    for (list, count) in [("members", "member_count"), ("user_ids", "user_count")] {
        let Some(Value::Array(users)) = object.get_mut(list) else {
            continue;
        };
        let all = users.len();
        let bytes = |user: &Value| serde_json::to_vec(user).map_or(0, |it| it.len() + 1);
        let mut left = FRAME_BYTES / 2;
        let fit = users.iter().take_while(|user| {
            let fits = bytes(user) <= left;
            left = left.saturating_sub(bytes(user));
            fits
        });
        let fit = fit.count();
        users.truncate(fit);
        object.insert(count.to_owned(), all.into());
    }
    serde_json::to_string(&object).map_or(frame.into(), Cow::Owned)
}

/// A frame with one more field. The frame is an object of ours with fields, so it ends with a brace.
fn with_conversation(frame: &str, conversation: Option<&str>) -> Utf8Bytes {
    match (conversation, frame.trim_end().strip_suffix('}')) {
        (Some(conversation), Some(open)) => format!(r#"{open},"conversation":{conversation}}}"#).into(),
        _ => frame.into(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::envelope::{Extras, encode_with};
    use protocol::server_frame::MemberAdded;
    use protocol::{ServerFrame, Timestamp};

    use super::*;

    #[test]
    fn only_new_members_are_told_what_the_conversation_is() {
        let (ann, bob) = (UserId::parse("ann").unwrap(), UserId::parse("bob").unwrap());
        let frame = ServerFrame::MemberAdded(MemberAdded {
            conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
            seq: 2,
            user_ids: vec![bob.clone()],
            by: ann.clone(),
            timestamp: Timestamp::from_millis(0),
            conversation: None,
        });
        let extras = Extras {
            conversation: Some(r#"{"seq":2}"#),
            ..Extras::default()
        };
        let event = Event::parse(0, 7, &encode_with(&frame, 0, &extras)).unwrap();
        let of = |user| serde_json::from_str::<serde_json::Value>(event.frame_for(user)).unwrap();
        assert_eq!(of(&ann).get("conversation"), None);
        assert_eq!(of(&bob)["conversation"]["seq"], 2);
        assert_eq!(of(&bob)["type"], "member:added");
    }

    #[test]
    fn a_frame_names_as_many_users_as_fit_and_everybody_is_among_the_recipients() {
        let user = |number: usize| UserId::parse(&format!("{number:0>120}")).unwrap();
        let frame = |count: usize| {
            let frame = ServerFrame::MemberAdded(MemberAdded {
                conversation_id: ConversationId::parse("g00000000000000000000000000000000").unwrap(),
                seq: 2,
                user_ids: (0..count).map(user).collect(),
                by: user(0),
                timestamp: Timestamp::from_millis(0),
                conversation: None,
            });
            Event::parse(0, 7, &encode_with(&frame, 0, &Extras::default())).unwrap()
        };
        let (small, large) = (frame(100), frame(9_999));
        let read = |event: &Event| serde_json::from_str::<Value>(&event.frame).unwrap();
        assert_eq!(read(&small)["user_ids"].as_array().unwrap().len(), 100);
        assert_eq!(read(&small).get("user_count"), None);
        assert!(large.frame.len() <= FRAME_BYTES && large.changes().len() == 9_999);
        assert_eq!(read(&large)["user_count"], 9_999);
        assert!(read(&large)["user_ids"].as_array().unwrap().len() > 100);
        assert_eq!(read(&large)["type"], "member:added");
    }
}
