//! What a frame from the server does to the client.

use std::time::Instant;

use protocol::client_frame::Reference;
use protocol::rpc::ReceiptKind;
use protocol::server_frame::{ErrorFrame, MessageAck, MessageIncoming, Receipt, ResyncReason};
use protocol::{Code, ServerFrame};

use super::{Client, Output, Request};
use crate::chat::api::Target;
use crate::chat::{escape, news, receipts, room, subscription, typist};

impl Client {
    pub(in crate::chat) fn on_frame(&mut self, frame: ServerFrame, now: Instant) {
        match frame {
            ServerFrame::MessageAck(ack) => self.on_ack(&ack),
            ServerFrame::MessageIncoming(message) => self.on_message(&message, now),
            ServerFrame::MessageDelivered(receipt) => self.on_receipt(ReceiptKind::Delivered, &receipt),
            ServerFrame::MessageRead(receipt) => self.on_receipt(ReceiptKind::Read, &receipt),
            ServerFrame::ConversationCreated(created) => self.on_created(&created),
            ServerFrame::ConversationUpdated(updated) => self.on_updated(&updated),
            ServerFrame::MemberAdded(added) => self.on_added(&added, now),
            ServerFrame::MemberRemoved(removed) => self.on_removed(&removed, now),
            ServerFrame::Subscribed(subscribed) => self.on_subscribed(&subscribed, now),
            ServerFrame::UserJoined(signal) => self.on_joined(&signal, now),
            ServerFrame::UserLeft(signal) => self.on_left(&signal),
            ServerFrame::TypingStarted(signal) => self.on_typing(&signal, true, now),
            ServerFrame::TypingStopped(signal) => self.on_typing(&signal, false, now),
            ServerFrame::Presence(presence) => self.on_presence(&presence),
            ServerFrame::Resync(resync) => self.on_resync(resync.reason),
            ServerFrame::Error(error) => self.on_error(&error, now),
            // The link's business, or already known.
            ServerFrame::Ready(_)
            | ServerFrame::Pong(_)
            | ServerFrame::Unsubscribed(_)
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
        if !self.rooms.sent(&ack.conversation_id, ack.seq, &pending.text) {
            self.look(&ack.conversation_id, ack.seq);
        }
        if let Some(room) = self.room.as_mut().filter(|it| *it.id() == ack.conversation_id) {
            room.ack(ack, pending.text);
            if room.is_loaded() {
                self.told = self.told.max(ack.seq);
            }
        }
    }

    fn on_message(&mut self, message: &MessageIncoming, now: Instant) {
        let id = &message.conversation_id;
        let was_pending = self.outbox.settle(&message.client_id).is_some();
        let is_mine = message.sender_id == self.me;
        if !is_mine {
            self.receipts.note(id, ReceiptKind::Delivered, message.seq, now);
        }
        let room = self.room.as_mut().filter(|it| it.id() == id);
        let is_seen = room.as_ref().is_some_and(|it| it.is_loaded()) && self.is_visible;
        if !self.rooms.message(message, is_seen) && room.is_none() {
            self.look(id, message.seq);
        }
        let Some(room) = self.room.as_mut().filter(|it| it.id() == id) else {
            if !is_mine {
                let title = self.rooms.get(id).map(|it| it.title.as_str());
                self.outputs.push(Output::Notice(news::elsewhere(message, title)));
            }
            return;
        };
        self.live.stopped(&message.sender_id);
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
        let id = &receipt.conversation_id;
        if receipt.user_id == self.me {
            // From another device of this user.
            let (delivered, read) = match kind {
                ReceiptKind::Delivered => (receipt.seq, 0),
                ReceiptKind::Read => (receipt.seq, receipt.seq),
            };
            self.receipts.known_to_server(id, delivered, read);
            if kind == ReceiptKind::Read && !self.rooms.read(id, receipt.seq) {
                self.look(id, 0);
            }
            return;
        }
        let Some(room) = self.room.as_mut().filter(|it| it.id() == id) else {
            return;
        };
        if room.members.receipt(kind, receipt) {
            let user = escape::line(receipt.user_id.as_str());
            self.outputs.push(Output::Detail(match kind {
                ReceiptKind::Delivered => format!("delivered {} to {user}", receipt.seq),
                ReceiptKind::Read => format!("read {} by {user}", receipt.seq),
            }));
        }
    }

    fn on_error(&mut self, error: &ErrorFrame, now: Instant) {
        let words = escape::line(&error.message);
        let reference = match &error.reference {
            Some(Reference::Text(text)) => text.as_str(),
            _ => "",
        };
        if error.client_id.is_some() {
            if let Some(refused) = self.outbox.on_error(error, now) {
                let text: String = escape::line(&refused.text).chars().take(40).collect();
                self.problem(format!("not sent: {text}: {words}"));
            }
            return;
        }
        match (reference, error.code) {
            (typist::REFERENCE, _) => {}
            // It was on its way when the user was taken out of the conversation.
            (receipts::REFERENCE, Code::NotFound) => {}
            (subscription::REFERENCE, code) => self.subscription.on_error(code, now),
            _ => self.outputs.push(Output::Problem(format!("the server says: {words}"))),
        }
    }

    fn on_resync(&mut self, reason: ResyncReason) {
        self.outputs.push(Output::Notice(
            "the server lost this client's place: loading everything again".into(),
        ));
        self.list_again();
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
