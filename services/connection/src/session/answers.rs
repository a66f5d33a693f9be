//! What a socket's client is told: answers to its frames, and events as this session gets them.

use protocol::client_frame::Reference;
use protocol::rpc::Sent;
use protocol::server_frame::{ErrorFrame, MessageAck};
use protocol::{ClientId, Code, ConversationId, Refusal, ServerFrame, ServerId};
use telemetry::trace;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::own::{Logged, Seen, Tell};
use super::requests::Outcome;
use super::socket::Socket;
use crate::hub::event::{Event, Kind};

impl Socket {
    /// Puts an answer into the line.
    pub(super) fn reply(&mut self, frame: ServerFrame) {
        self.outbox.push_back(frame.encode().into());
    }

    pub(super) fn on_answer(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Sent {
                conversation,
                client_id,
                reference,
                result,
                span,
            } => {
                match &result {
                    Ok(sent) => trace::set(&span, "parley.seq", sent.seq.cast_signed()),
                    Err(refusal) => trace::fail(&span, refusal.code.as_str()),
                }
                self.on_sent(conversation, client_id, reference, result);
            }
            Outcome::Confirmed {
                mark: (id, _),
                result: Ok(Some(seq)),
                ..
            } => self.on_confirmed(id, seq),
            Outcome::Confirmed { result: Ok(None), .. } => {}
            Outcome::Confirmed {
                mark,
                references,
                result: Err(refusal),
                ..
            } => {
                self.own.not_confirmed(&mark.0, mark.1);
                for reference in references {
                    self.reply(ServerFrame::Error(ErrorFrame::of(refusal.clone(), reference, None)));
                }
            }
            Outcome::Other(None, _) => {}
            Outcome::Other(Some(frame), _) => self.reply(*frame),
        }
    }

    pub(super) fn on_sent(
        &mut self,
        conversation: ConversationId,
        client_id: ClientId,
        reference: Option<Reference>,
        result: Result<Sent, Refusal>,
    ) {
        let (logged, duplicate) = match result {
            Ok(sent) => {
                let lane = self.app.hub.lane_of(&conversation);
                self.app.hub.lanes[lane].note(sent.position);
                let logged = Logged {
                    lane,
                    position: sent.position,
                    seq: sent.seq,
                    timestamp: sent.timestamp,
                };
                if !self.own.acked(&conversation, &client_id, logged) {
                    return;
                }
                (logged, sent.duplicate)
            }
            Err(refusal) => {
                let unknown = matches!(refusal.code, Code::Unavailable | Code::Internal);
                match self.own.refused(&conversation, &client_id, unknown, Instant::now()) {
                    Tell::Ack(logged) => (logged, false),
                    Tell::Nothing => return,
                    Tell::Refusal => {
                        if unknown {
                            metrics::counter!("parley_send_failures_total", "transport" => "websocket", "code" => refusal.code.as_str())
                                .increment(1);
                        }
                        let client_id = Some(client_id.as_str().to_owned());
                        return self.reply(ServerFrame::Error(ErrorFrame::of(refusal, reference, client_id)));
                    }
                }
            }
        };
        self.acking.extend(self.own.take_came());
        self.reply(ack(&conversation, client_id, reference, logged, duplicate));
        self.checkpoint_soon();
    }

    /// What this socket is sent for an event: mostly the event, an ack for its own message, nothing for what it knows.
    pub(super) fn text_of(&mut self, event: &Event) -> Option<Utf8Bytes> {
        let id = &event.conversation_id;
        match &event.kind {
            Kind::Message(sender, client_id) if *sender == self.session.user_id => {
                let logged = Logged {
                    lane: event.lane,
                    position: event.position,
                    seq: event.seq,
                    timestamp: event.timestamp,
                };
                match self.own.seen(id, client_id, logged) {
                    Seen::NotOurs => {}
                    Seen::Known => return None,
                    Seen::AckNow(client_id, reference) => {
                        return Some(ack(id, client_id, reference, logged, false).encode().into());
                    }
                }
            }
            Kind::Receipt { user, kind, .. }
                if *user == self.session.user_id && self.own.confirmed(id, *kind, event.seq) =>
            {
                return None;
            }
            _ => {}
        }
        Some(event.frame_for(&self.session.user_id).clone())
    }
}

fn ack(
    conversation_id: &ConversationId,
    client_id: ClientId,
    reference: Option<Reference>,
    logged: Logged,
    duplicate: bool,
) -> ServerFrame {
    ServerFrame::MessageAck(MessageAck {
        client_id,
        server_id: ServerId {
            conversation_id: conversation_id.clone(),
            seq: logged.seq,
        },
        conversation_id: conversation_id.clone(),
        seq: logged.seq,
        timestamp: logged.timestamp,
        duplicate,
        reference,
    })
}
