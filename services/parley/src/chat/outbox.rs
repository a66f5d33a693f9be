//! Messages of this user that the server has not acked yet. Pure; the time is passed in.
//!
//! One message is on its way at a time: so a message never overtakes an earlier one, not even when both are sent again
//! after a broken connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::server_frame::ErrorFrame;
use protocol::{ClientId, Code, ConversationId};
use serde_json::{Value, json};

/// Most messages that may wait; then [`Outbox::is_full`].
const MOST: usize = 100;

/// A send that is neither acked nor refused within this is sent again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Before a refused send is tried again, where the server does not say.
const PAUSE: Duration = Duration::from_secs(1);

/// A message without an ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    /// Under which it is sent, each time.
    pub(super) client_id: ClientId,
    /// Where to.
    pub(super) conversation_id: ConversationId,
    /// What.
    pub(super) text: String,
    /// Why the server will never take it; `None` while there is hope.
    pub(super) refused: Option<String>,
    was_sent: bool,
}

/// The waiting messages, oldest first.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Pending>,
    /// Shown until their conversation is closed.
    refused: VecDeque<Pending>,
    online: bool,
    /// When the first may be sent, or sent again.
    not_before: Option<Instant>,
}

impl Outbox {
    /// Takes a message. The caller has asked [`Outbox::is_full`].
    pub(super) fn push(&mut self, conversation_id: ConversationId, text: String, client_id: ClientId) {
        self.waiting.push_back(Pending {
            client_id,
            conversation_id,
            text,
            refused: None,
            was_sent: false,
        });
    }

    /// Whether no more may be taken for now.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST
    }

    /// How many wait for their ack.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Of one conversation: first those that were refused, then those on their way.
    pub(super) fn of<'a>(&'a self, conversation: &'a ConversationId) -> impl Iterator<Item = &'a Pending> {
        let all = self.refused.iter().chain(&self.waiting);
        all.filter(move |it| it.conversation_id == *conversation)
    }

    /// The connection is there, or gone. Either way the first message is sent anew.
    pub(super) fn set_online(&mut self, online: bool) {
        self.online = online;
        self.not_before = None;
    }

    /// The message is in the log, by an ack or because it came back as an event; gives it where it was waiting.
    pub(super) fn settle(&mut self, client_id: &ClientId) -> Option<Pending> {
        let index = self.waiting.iter().position(|it| it.client_id == *client_id)?;
        if index == 0 {
            self.not_before = None;
        }
        self.waiting.remove(index)
    }

    /// An `error` that names a message. Gives the message if it is refused for good; otherwise it is sent again.
    pub(super) fn on_error(&mut self, error: &ErrorFrame, now: Instant) -> Option<&Pending> {
        let client_id = ClientId::parse(error.client_id.as_deref()?)?;
        let index = self.waiting.iter().position(|it| it.client_id == client_id)?;
        if matches!(
            error.code,
            Code::Unavailable | Code::RateLimited | Code::Internal | Code::Unauthenticated
        ) {
            self.not_before = Some(now + error.retry_after_ms.map_or(PAUSE, Duration::from_millis));
            return None;
        }
        let mut pending = self.waiting.remove(index)?;
        pending.refused = Some(error.message.clone());
        self.not_before = None;
        if self.refused.len() >= MOST {
            self.refused.pop_front();
        }
        self.refused.push_back(pending);
        self.refused.back()
    }

    /// When [`Outbox::next`] has something; `None` while there is nothing to do.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        (self.online && !self.waiting.is_empty()).then(|| self.not_before.unwrap_or(now))
    }

    /// The frame to send now.
    pub(super) fn next(&mut self, now: Instant) -> Option<Value> {
        if self.due(now)? > now {
            return None;
        }
        let first = self.waiting.front_mut()?;
        let mut frame = json!({
            "type": "message:send",
            "client_id": first.client_id,
            "conversation_id": first.conversation_id,
            "text": first.text,
        });
        if first.was_sent {
            frame["retry"] = json!(true);
        }
        first.was_sent = true;
        self.not_before = Some(now + PATIENCE);
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(texts: &[&str]) -> (Outbox, Vec<ClientId>, Instant) {
        let conversation = ConversationId::parse("d00000000000000000000000000000000").unwrap();
        let mut outbox = Outbox::default();
        let ids: Vec<_> = texts.iter().map(|_| ClientId::generate()).collect();
        for (text, id) in texts.iter().zip(&ids) {
            outbox.push(conversation.clone(), (*text).into(), id.clone());
        }
        outbox.set_online(true);
        (outbox, ids, Instant::now())
    }

    fn error(code: Code, id: &ClientId, retry_after_ms: Option<u64>) -> ErrorFrame {
        let client_id = Some(id.as_str().to_owned());
        ErrorFrame {
            code,
            message: "why".into(),
            reference: None,
            client_id,
            retry_after_ms,
        }
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let (mut outbox, ids, now) = outbox(&["one", "two"]);
        let first = outbox.next(now).unwrap();
        assert_eq!((first["text"].as_str(), first.get("retry")), (Some("one"), None));
        assert_eq!(outbox.next(now), None);
        assert!(outbox.settle(&ids[0]).is_some());
        assert!(outbox.settle(&ids[0]).is_none());
        assert_eq!(outbox.next(now).unwrap()["text"], "two");
    }

    #[test]
    fn after_a_reconnect_the_same_id_goes_again_as_a_retry_and_what_was_never_sent_does_not() {
        let (mut outbox, ids, now) = outbox(&["one", "two"]);
        outbox.next(now).unwrap();
        outbox.set_online(false);
        assert_eq!((outbox.due(now), outbox.next(now)), (None, None));
        outbox.set_online(true);
        let again = outbox.next(now).unwrap();
        assert_eq!(
            (again["client_id"].as_str().unwrap(), &again["retry"]),
            (ids[0].as_str(), &json!(true))
        );
        outbox.settle(&ids[0]);
        assert_eq!(outbox.next(now).unwrap().get("retry"), None);
    }

    #[test]
    fn without_an_answer_it_is_sent_again_after_a_while() {
        let (mut outbox, _, now) = outbox(&["one"]);
        outbox.next(now).unwrap();
        assert_eq!(outbox.due(now), Some(now + PATIENCE));
        assert_eq!(outbox.next(now + PATIENCE).unwrap()["retry"], true);
    }

    #[test]
    fn a_passing_trouble_is_waited_out() {
        let (mut outbox, ids, now) = outbox(&["one"]);
        outbox.next(now).unwrap();
        assert_eq!(outbox.on_error(&error(Code::RateLimited, &ids[0], Some(40)), now), None);
        assert_eq!(outbox.next(now), None);
        assert_eq!(outbox.next(now + Duration::from_millis(40)).unwrap()["retry"], true);
    }

    #[test]
    fn a_refusal_is_kept_to_be_shown_and_the_next_message_goes() {
        let (mut outbox, ids, now) = outbox(&["one", "two"]);
        outbox.next(now).unwrap();
        assert!(outbox.on_error(&error(Code::Invalid, &ids[0], None), now).is_some());
        assert_eq!(outbox.waiting(), 1);
        let conversation = ConversationId::parse("d00000000000000000000000000000000").unwrap();
        let shown: Vec<_> = outbox
            .of(&conversation)
            .map(|it| (it.text.as_str(), it.refused.as_deref()))
            .collect();
        assert_eq!(shown, [("one", Some("why")), ("two", None)]);
        assert_eq!(outbox.next(now).unwrap()["text"], "two");
    }
}
