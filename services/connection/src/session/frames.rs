//! What a session does with each frame of its client. Each handler leaves answers in the outbox; only the loop writes.

use protocol::client_frame::{Auth, Decoded, MessageSend, ReceiptFrame, Reference, Rejected};
use protocol::rpc::{Confirm, ReceiptKind, SendMessage};
use protocol::server_frame::{ErrorFrame, Pong, close};
use protocol::trace::is_traceparent;
use protocol::{ClientFrame, Code, ConversationId, Refusal, ServerFrame, ServerId, Timestamp, client_frame};
use telemetry::trace::{self, Origin};
use tokio::time::Instant;

use super::limiter::{Limiter, Refused};
use super::socket::{End, Socket};

/// Frames that are no sends may come this many times as often.
pub const OTHERS_PER_SEND: u32 = 20;

/// Takes one text frame.
///
/// # Errors
/// The session ends.
pub(super) fn on_text(socket: &mut Socket, text: &str) -> Result<(), End> {
    crate::metrics::HELD.frames_in.increment(1);
    match client_frame::decode(text) {
        Ok(Decoded {
            frame,
            reference,
            traceparent,
        }) => on_frame(socket, frame, reference, traceparent),
        Err(rejected) => on_rejected(socket, *rejected),
    }
}

fn on_rejected(socket: &mut Socket, rejected: Rejected) -> Result<(), End> {
    let send = rejected.frame_type.as_deref() == Some("message:send");
    let limited = limit(if send { &mut socket.sends } else { &mut socket.others })?;
    let refusal = limited.err().unwrap_or(rejected.refusal);
    metrics::counter!("parley_frames_refused_total", "code" => refusal.code.as_str()).increment(1);
    socket.reply(ServerFrame::Error(ErrorFrame::of(
        refusal,
        rejected.reference,
        rejected.client_id,
    )));
    Ok(())
}

fn on_frame(
    socket: &mut Socket,
    frame: ClientFrame,
    reference: Option<Reference>,
    traceparent: Option<String>,
) -> Result<(), End> {
    let send = matches!(frame, ClientFrame::MessageSend(_));
    if !matches!(
        frame,
        ClientFrame::Ping | ClientFrame::Auth(_) | ClientFrame::MessageDelivered(_)
    ) {
        socket.note_activity();
    }
    let limited = limit(if send { &mut socket.sends } else { &mut socket.others })?;
    let result = match limited {
        Err(refusal) => Err((refusal, client_id_of(&frame))),
        Ok(()) => match frame {
            ClientFrame::MessageSend(send) => on_send(socket, *send, reference.clone(), traceparent),
            ClientFrame::MessageDelivered(receipt) => {
                on_receipt(socket, receipt, ReceiptKind::Delivered, reference.clone())
            }
            ClientFrame::MessageRead(receipt) => on_receipt(socket, receipt, ReceiptKind::Read, reference.clone()),
            ClientFrame::Ping => {
                let reference = reference.clone();
                socket.reply(ServerFrame::Pong(Pong {
                    timestamp: Timestamp::now(),
                    reference,
                }));
                Ok(())
            }
            ClientFrame::State(state) => {
                socket.on_state(state);
                Ok(())
            }
            ClientFrame::Subscribe(room) => socket.on_subscribe(&room, reference.clone()).map_err(plain),
            ClientFrame::Unsubscribe(room) => socket.on_unsubscribe(&room, reference.clone()).map_err(plain),
            ClientFrame::TypingStart(room) => socket.on_typing(&room, true, reference.clone()).map_err(plain),
            ClientFrame::TypingStop(room) => socket.on_typing(&room, false, reference.clone()).map_err(plain),
            ClientFrame::PresenceSet(set) => {
                socket.on_presence(set.status, reference.clone());
                Ok(())
            }
            ClientFrame::Auth(auth) => on_renewal(socket, &auth, reference.clone()),
        },
    };
    if let Err((refusal, client_id)) = result {
        metrics::counter!("parley_frames_refused_total", "code" => refusal.code.as_str()).increment(1);
        socket.reply(ServerFrame::Error(ErrorFrame::of(refusal, reference, client_id)));
    }
    Ok(())
}

type Handled = Result<(), (Refusal, Option<String>)>;

/// A refusal of a frame that has no `client_id`.
fn plain(refusal: Refusal) -> (Refusal, Option<String>) {
    (refusal, None)
}

/// The outer error ends the session.
fn limit(limiter: &mut Limiter) -> Result<Result<(), Refusal>, End> {
    match limiter.take(Instant::now()) {
        Ok(()) => Ok(Ok(())),
        Err(Refused { flood: true, .. }) => {
            metrics::counter!("parley_floods_total").increment(1);
            Err(End::Close(close::FLOOD, "nothing but refused frames for 10 s"))
        }
        Err(Refused { retry_after_ms, .. }) => {
            metrics::counter!("parley_rate_limited_total", "transport" => "websocket").increment(1);
            Ok(Err(too_often(retry_after_ms)))
        }
    }
}

/// `rate_limited`, in the words that sockets and HTTP share.
pub fn too_often(retry_after_ms: u64) -> Refusal {
    let mut refusal = Refusal::new(
        Code::RateLimited,
        "too often: wait `retry_after_ms`, then send it again",
    );
    refusal.retry_after_ms = Some(retry_after_ms);
    refusal
}

fn client_id_of(frame: &ClientFrame) -> Option<String> {
    match frame {
        ClientFrame::MessageSend(send) => Some(send.client_id.as_str().to_owned()),
        _ => None,
    }
}

fn on_send(
    socket: &mut Socket,
    send: MessageSend,
    reference: Option<Reference>,
    traceparent: Option<String>,
) -> Handled {
    let Some(conversation) = ConversationId::parse(&send.conversation_id) else {
        return Err((Refusal::no_conversation(), Some(send.client_id.as_str().to_owned())));
    };
    let lane = socket.app.hub.lane_of(&conversation);
    let dispatched = socket.app.hub.lanes[lane].dispatched();
    socket
        .own
        .sending(&conversation, &send.client_id, reference.clone(), dispatched);
    let traceparent = traceparent.filter(|it| is_traceparent(it));
    let from = traceparent.as_ref().or(socket.traceparent.as_ref());
    let span = telemetry::span!(
        Origin::at_edge(from.map(String::as_str)),
        "server",
        "message:send",
        network.protocol.name = "websocket",
        parley.conversation_id = conversation.as_str(),
        parley.client_id = send.client_id.as_str(),
        user.id = socket.session.user_id.as_str(),
        session.id = socket.session.id.as_str(),
        device.id = socket.session.device_id.as_str()
    );
    let request = SendMessage {
        user_id: socket.session.user_id.clone(),
        sender_name: socket.sender_name.clone(),
        traceparent: trace::traceparent_of(&span).or(traceparent),
        send,
    };
    socket.requests.send(conversation, Box::new(request), reference, span);
    Ok(())
}

fn on_receipt(socket: &mut Socket, receipt: ReceiptFrame, kind: ReceiptKind, reference: Option<Reference>) -> Handled {
    let Some(conversation) = ConversationId::parse(&receipt.conversation_id) else {
        return Err((Refusal::no_conversation(), None));
    };
    let named = receipt.server_id.as_deref().and_then(ServerId::parse).map(|id| id.seq);
    if let Some(seq) = named.or(receipt.seq) {
        socket.own.confirming(&conversation, kind, seq, Instant::now());
    }
    let confirm = Confirm {
        user_id: socket.session.user_id.clone(),
        conversation_id: receipt.conversation_id,
        kind,
        seq: receipt.seq,
        server_id: receipt.server_id,
        doubtful: !socket.is_member(&conversation),
        tell: true,
    };
    socket.requests.confirm(conversation, confirm, reference);
    Ok(())
}

/// A new token on a live session; the old one stands where the new one is refused.
fn on_renewal(socket: &mut Socket, auth: &Auth, reference: Option<Reference>) -> Handled {
    let caller = socket
        .app
        .verifier
        .verify(&auth.token, Timestamp::now())
        .map_err(|refusal| (refusal, None))?;
    if caller.user_id != socket.session.user_id {
        return Err((
            Refusal::new(Code::Forbidden, "this token is another user's: open a socket for him"),
            None,
        ));
    }
    if caller
        .device_id
        .as_ref()
        .is_some_and(|device| *device != socket.session.device_id)
    {
        return Err((Refusal::new(Code::Forbidden, "this token is another device's"), None));
    }
    socket.expires_at = caller.ends_at(Timestamp::now(), Instant::now());
    socket.sender_name = caller.name;
    let ready = socket
        .app
        .ready(&socket.session, false, socket.cursor.clone(), reference);
    socket.reply(ServerFrame::Ready(ready));
    Ok(())
}
