//! Who may send what, and what becomes of it: a pure function of the conversation's state.

use protocol::client_frame::MessageSend;
use protocol::envelope::Extras;
use protocol::rpc::SendMessage;
use protocol::server_frame::MessageIncoming;
use protocol::{Code, ConversationId, Refusal, ServerFrame, ServerId, Timestamp, UserId, envelope};

use crate::conversation::{Head, State};

/// A send whose own fields have been checked.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) sender: UserId,
    pub(crate) conversation_id: ConversationId,
    pub(crate) text: String,
    pub(crate) reply_to: Option<ServerId>,
    /// See [`Envelope`](envelope::Envelope).
    pub(crate) sender_name: Option<String>,
    /// See [`Envelope`](envelope::Envelope).
    pub(crate) traceparent: Option<String>,
    pub(crate) send: MessageSend,
}

/// What to do with a send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Append this, if the log still ends where the state says.
    Append {
        head: Head,
        expected: u64,
        payload: Vec<u8>,
    },
    /// First find out whether this `seq` is a message.
    CheckReply(u64),
    /// Refuse; final only if the state is fresh.
    Refuse(Refusal),
}

/// `not_found` for what a reply refers to.
pub(crate) fn no_such_message() -> Refusal {
    Refusal::new(Code::NotFound, "no such message in this conversation")
}

/// Checks what needs no knowledge of the conversation.
///
/// # Errors
/// `not_found` for ids that no server made, `invalid`.
pub(crate) fn draft(request: SendMessage) -> Result<Draft, Refusal> {
    let send = request.send;
    let conversation_id = ConversationId::parse(&send.conversation_id).ok_or_else(Refusal::no_conversation)?;
    let text = protocol::client_frame::checked_text(&send)?.to_owned();
    let reply_to = match &send.reply_to {
        None => None,
        Some(text) => {
            let id = ServerId::parse(text).filter(|it| it.conversation_id == conversation_id);
            Some(id.ok_or_else(no_such_message)?)
        }
    };
    Ok(Draft {
        sender: request.user_id,
        conversation_id,
        text,
        reply_to,
        sender_name: request.sender_name,
        traceparent: request.traceparent,
        send,
    })
}

/// Decides on a send at `now`. `reply_known`: what it replies to has been found to be a message.
pub(crate) fn decide(state: &State, draft: &Draft, reply_known: bool, now: Timestamp) -> Decision {
    if !state.members.contains(&draft.sender) {
        return Decision::Refuse(Refusal::no_conversation());
    }
    if let Some(reply) = draft.reply_to.as_ref().filter(|_| !reply_known) {
        if reply.seq > state.head.seq || reply.seq < state.visible_from(&draft.sender) {
            return Decision::Refuse(no_such_message());
        }
        if !state.is_recent_message(reply.seq) {
            return Decision::CheckReply(reply.seq);
        }
    }
    let seq = state.head.seq + 1;
    // Clocks of replicas differ; within a conversation time never goes back.
    let timestamp = now.max(state.head.timestamp);
    let frame = ServerFrame::MessageIncoming(MessageIncoming {
        server_id: ServerId {
            conversation_id: draft.conversation_id.clone(),
            seq,
        },
        client_id: draft.send.client_id.clone(),
        conversation_id: draft.conversation_id.clone(),
        seq,
        sender_id: draft.sender.clone(),
        text: draft.text.clone(),
        kind: draft.send.kind,
        reply_to: draft.reply_to.clone(),
        attachments: draft.send.attachments.clone().unwrap_or_default(),
        timestamp,
    });
    let extras = Extras {
        sender_name: draft.sender_name.as_deref(),
        traceparent: draft.traceparent.as_deref(),
        ..Extras::default()
    };
    Decision::Append {
        // The position is the stream's to give.
        head: Head {
            seq,
            position: 0,
            timestamp,
        },
        expected: state.head.position,
        payload: envelope::encode_with(&frame, state.state_at, &extras),
    }
}

/// The stream's id of a send: the same for each repetition, different for different senders.
pub(crate) fn message_id(draft: &Draft) -> String {
    format!(
        "{}:{}:{}",
        draft.conversation_id.as_str(),
        bus::subjects::escape(draft.sender.as_str()),
        draft.send.client_id.uuid().simple()
    )
}

#[cfg(test)]
mod tests {
    use protocol::ClientId;
    use protocol::client_frame::MessageKind;

    use super::*;
    use crate::conversation::state::tests::{ann_and_bob, user};

    fn send(conversation_id: &str, reply_to: Option<String>) -> MessageSend {
        MessageSend {
            client_id: ClientId::parse("0190B6F0-7E2C-7C3A-8A50-0A0B0C0D0E0F").unwrap(),
            conversation_id: conversation_id.into(),
            text: " hi ".into(),
            kind: MessageKind::Text,
            reply_to,
            attachments: None,
            retry: false,
        }
    }

    fn request(sender: &str, send: MessageSend) -> SendMessage {
        SendMessage {
            user_id: user(sender),
            sender_name: None,
            traceparent: None,
            send,
        }
    }

    fn draft_of(sender: &str, reply_seq: Option<u64>) -> Draft {
        let id = ann_and_bob().id.as_str().to_owned();
        let reply_to = reply_seq.map(|seq| format!("{id}-{seq}"));
        draft(request(sender, send(&id, reply_to))).unwrap()
    }

    fn decide_at(draft: &Draft, reply_known: bool, now_ms: i64) -> Decision {
        decide(&ann_and_bob(), draft, reply_known, Timestamp::from_millis(now_ms))
    }

    #[test]
    fn a_members_message_takes_the_next_seq_behind_the_head() {
        let Decision::Append {
            head,
            expected,
            payload,
        } = decide_at(&draft_of("bob", None), false, 5_000)
        else {
            panic!("not appended");
        };
        assert_eq!((head.seq, head.timestamp.as_millis(), expected), (2, 5_000, 10));
        let (envelope, entry) = envelope::decode(&payload).unwrap();
        assert_eq!(
            (envelope.state_at, entry.seq, entry.sender_id),
            (10, 2, Some(user("bob")))
        );
        assert!(envelope.frame.get().contains(r#""text":"hi""#));
        assert!(
            envelope.frame.get().contains("0190B6F0"),
            "the client id is echoed as written"
        );
    }

    #[test]
    fn name_and_trace_of_a_send_stand_beside_its_frame_and_leave_no_trace_where_there_are_none() {
        let payload = |draft: &Draft| match decide_at(draft, false, 5_000) {
            Decision::Append { payload, .. } => payload,
            other => panic!("{other:?}"),
        };
        let plain = payload(&draft_of("bob", None));
        let named = payload(&Draft {
            sender_name: Some("Bob".into()),
            traceparent: Some("00-1-2-01".into()),
            ..draft_of("bob", None)
        });
        let (with, _) = envelope::decode(&named).unwrap();
        assert_eq!(
            (with.sender_name.as_deref(), with.traceparent.as_deref()),
            (Some("Bob"), Some("00-1-2-01"))
        );
        let text = format!(r#"{{"v":1,"state_at":10,"frame":{}}}"#, with.frame.get());
        assert_eq!(String::from_utf8(plain).unwrap(), text);
    }

    #[test]
    fn time_never_goes_back_within_a_conversation() {
        let Decision::Append { head, .. } = decide_at(&draft_of("ann", None), false, 3) else {
            panic!("not appended");
        };
        assert_eq!(head.timestamp.as_millis(), 1_000);
    }

    #[test]
    fn a_stranger_is_told_the_same_as_for_a_conversation_that_is_not() {
        let refused = Decision::Refuse(Refusal::no_conversation());
        assert_eq!(decide_at(&draft_of("eve", None), false, 5_000), refused);
        assert_eq!(
            draft(request("ann", send("nonsense", None))).unwrap_err(),
            Refusal::no_conversation()
        );
    }

    #[test]
    fn a_reply_is_refused_above_the_head_and_checked_below_it() {
        assert_eq!(
            decide_at(&draft_of("ann", Some(2)), false, 5_000),
            Decision::Refuse(no_such_message())
        );
        assert_eq!(
            decide_at(&draft_of("ann", Some(1)), false, 5_000),
            Decision::CheckReply(1)
        );
        assert!(matches!(
            decide_at(&draft_of("ann", Some(1)), true, 5_000),
            Decision::Append { .. }
        ));
        let foreign = format!("{}-1", ConversationId::direct(&user("x"), &user("y")).as_str());
        let id = ann_and_bob().id.as_str().to_owned();
        assert_eq!(
            draft(request("ann", send(&id, Some(foreign)))).unwrap_err(),
            no_such_message()
        );
    }

    #[test]
    fn the_message_id_is_the_same_however_the_uuid_is_written_and_differs_by_sender() {
        let (ann, bob) = (draft_of("ann", None), draft_of("bob", None));
        assert!(message_id(&ann).ends_with(":ann:0190b6f07e2c7c3a8a500a0b0c0d0e0f"));
        assert_ne!(message_id(&ann), message_id(&bob));
        let long = Draft {
            sender: user(&".".repeat(128)),
            ..draft_of("ann", None)
        };
        assert!(message_id(&long).len() < 512);
    }
}
