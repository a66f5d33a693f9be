//! What a frame from the server does to the client.

use std::time::Instant;

use protocol::ServerFrame;
use protocol::rpc::ReceiptKind;
use protocol::server_frame::{ErrorFrame, MessageAck, MessageIncoming, Receipt, ResyncReason};

use super::{Client, Output, Request};
use crate::chat::api::Target;
use crate::chat::{escape, list, room};

impl Client {
    pub(in crate::chat) fn on_frame(&mut self, frame: ServerFrame, now: Instant) {
        match frame {
            ServerFrame::MessageAck(ack) => self.on_ack(&ack),
            ServerFrame::MessageIncoming(message) => self.on_message(&message, now),
            ServerFrame::MessageDelivered(receipt) => self.on_receipt(ReceiptKind::Delivered, &receipt),
            ServerFrame::MessageRead(receipt) => self.on_receipt(ReceiptKind::Read, &receipt),
            ServerFrame::ConversationCreated(created) if created.by != self.me => {
                self.outputs.push(Output::Notice(list::announced(&created)));
            }
            ServerFrame::Resync(resync) => self.on_resync(resync.reason),
            ServerFrame::Error(error) => self.on_error(&error, now),
            // The link's business, or already known.
            ServerFrame::Ready(_)
            | ServerFrame::Pong(_)
            | ServerFrame::ConversationCreated(_)
            | ServerFrame::Checkpoint(_)
            | ServerFrame::Draining(_) => {}
        }
    }

    fn on_ack(&mut self, ack: &MessageAck) {
        // Without a pending message, an earlier answer has settled it.
        let Some(pending) = self.outbox.settle(&ack.client_id) else {
            return;
        };
        self.outputs.push(Output::Detail(format!("sent {}", ack.seq)));
        if let Some(room) = self.room.as_mut().filter(|it| *it.id() == ack.conversation_id) {
            room.ack(ack, pending.text);
            if room.is_loaded() {
                self.told = self.told.max(ack.seq);
            }
        }
    }

    fn on_message(&mut self, message: &MessageIncoming, now: Instant) {
        let was_pending = self.outbox.settle(&message.client_id).is_some();
        let is_mine = message.sender_id == self.me;
        if !is_mine {
            self.receipts
                .note(&message.conversation_id, ReceiptKind::Delivered, message.seq, now);
        }
        let Some(room) = self.room.as_mut().filter(|it| *it.id() == message.conversation_id) else {
            if !is_mine {
                self.outputs.push(Output::Notice(list::elsewhere(message)));
            }
            return;
        };
        if was_pending {
            self.outputs.push(Output::Detail(format!("sent {}", message.seq)));
        }
        // Before the history has come, what is there would come out of order; the first page tells it all.
        if room.insert(message, was_pending) && room.is_loaded() && !was_pending {
            let sender = message.sender_id.as_str().to_owned();
            self.told = self.told.max(message.seq);
            self.outputs.push(Output::Message(sender, room::body(message)));
        }
        self.confirm_shown(now);
    }

    fn on_receipt(&mut self, kind: ReceiptKind, receipt: &Receipt) {
        let Some(room) = self.room.as_mut().filter(|it| *it.id() == receipt.conversation_id) else {
            return;
        };
        if room.receipt(kind, receipt) {
            let user = escape::line(receipt.user_id.as_str());
            self.outputs.push(Output::Detail(match kind {
                ReceiptKind::Delivered => format!("delivered {} to {user}", receipt.seq),
                ReceiptKind::Read => format!("read {} by {user}", receipt.seq),
            }));
        }
    }

    fn on_error(&mut self, error: &ErrorFrame, now: Instant) {
        let words = escape::line(&error.message);
        if error.client_id.is_none() {
            self.outputs.push(Output::Problem(format!("the server says: {words}")));
        } else if let Some(refused) = self.outbox.on_error(error, now) {
            let text: String = escape::line(&refused.text).chars().take(40).collect();
            self.fail(format!("not sent: {text}: {words}"));
        }
    }

    fn on_resync(&mut self, reason: ResyncReason) {
        self.outputs.push(Output::Notice(
            "the server lost this client's place: loading everything again".into(),
        ));
        let Some(room) = &mut self.room else {
            return;
        };
        room.reset();
        if reason == ResyncReason::OtherLog {
            self.told = 0;
        }
        self.receipts.forget(room.id());
        self.requests
            .push(Request::Open(Target::Conversation(room.id().clone())));
    }
}
