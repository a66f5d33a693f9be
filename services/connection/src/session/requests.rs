//! Requests of a session to the message service: sends in order per conversation, receipts beside them.
//!
//! One send per conversation is under way at a time, so that the order of a socket's sends is the order of their
//! `seq`, whichever replicas serve them. All is bounded: past the bound the session stops reading its socket.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bus::Bus;
use bus::batch::Batcher;
use futures_util::stream::{FuturesUnordered, Stream};
use protocol::client_frame::{MessageSend, Reference};
use protocol::rpc::{Confirm, SendMessage, Sent};
use protocol::{ClientId, Code, ConversationId, Refusal, UserId};
use tokio::time::Instant;

/// Most requests of a session waiting or under way.
const PENDING_MOST: usize = 256;
/// What a client waits at most before it is told that the service is unavailable.
pub const DEADLINE: Duration = Duration::from_millis(1_900);

/// An answer of the message service.
#[derive(Debug)]
pub enum Outcome {
    /// Of a send.
    Sent {
        /// Where to.
        conversation: ConversationId,
        /// As the client wrote it.
        client_id: ClientId,
        /// To be echoed.
        reference: Option<Reference>,
        /// The answer.
        result: Result<Sent, Refusal>,
    },
    /// Of a receipt.
    Confirmed {
        /// To be echoed.
        reference: Option<Reference>,
        /// The answer.
        result: Result<(), Refusal>,
    },
}

struct Waiting {
    send: Box<MessageSend>,
    reference: Option<Reference>,
    /// From the frame's arrival; anew from its turn where the send before it was answered, so that a long line is no
    /// reason to refuse, and a service that hangs does not make each wait in turn.
    deadline: Instant,
}

type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// See the module.
pub struct Requests {
    bus: Bus,
    sends: Batcher<SendMessage>,
    user: UserId,
    running: FuturesUnordered<Running>,
    /// An entry exists while a send to that conversation is under way.
    waiting: HashMap<ConversationId, VecDeque<Waiting>>,
    waiting_count: usize,
}

impl Requests {
    /// None yet.
    pub fn new(bus: Bus, sends: Batcher<SendMessage>, user: UserId) -> Self {
        Self {
            bus,
            sends,
            user,
            running: FuturesUnordered::new(),
            waiting: HashMap::new(),
            waiting_count: 0,
        }
    }

    /// Whether no more can be taken for now.
    pub fn is_full(&self) -> bool {
        self.running.len() + self.waiting_count >= PENDING_MOST
    }

    /// Whether none is waiting or under way.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Sends a message after those of this session to the same conversation.
    pub fn send(&mut self, conversation: ConversationId, send: Box<MessageSend>, reference: Option<Reference>) {
        let waiting = Waiting {
            send,
            reference,
            deadline: Instant::now() + DEADLINE,
        };
        if let Some(queue) = self.waiting.get_mut(&conversation) {
            queue.push_back(waiting);
            self.waiting_count += 1;
            return;
        }
        self.waiting.insert(conversation.clone(), VecDeque::new());
        self.start(conversation, waiting);
    }

    fn start(&mut self, conversation: ConversationId, waiting: Waiting) {
        let Waiting {
            send,
            reference,
            deadline,
        } = waiting;
        let (sends, user_id) = (self.sends.clone(), self.user.clone());
        self.running.push(Box::pin(async move {
            let client_id = send.client_id.clone();
            let left = deadline.saturating_duration_since(Instant::now());
            let result = if left.is_zero() {
                Err(Refusal::unavailable("the service is slow: it was not sent, try again"))
            } else {
                sends.call(&SendMessage { user_id, send: *send }, left).await
            };
            Outcome::Sent {
                conversation,
                client_id,
                reference,
                result,
            }
        }));
    }

    /// Moves a watermark.
    pub fn confirm(&mut self, confirm: Confirm, reference: Option<Reference>) {
        let bus = self.bus.clone();
        self.running.push(Box::pin(async move {
            let result = bus::rpc::call(&bus, &confirm, DEADLINE).await;
            Outcome::Confirmed { reference, result }
        }));
    }

    /// The next answer; starts the send that waited for it.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Poll::Ready(Some(outcome)) = Pin::new(&mut self.running).poll_next(cx) else {
            return Poll::Pending;
        };
        if let Outcome::Sent {
            conversation, result, ..
        } = &outcome
        {
            let answered = !matches!(result, Err(refusal) if refusal.code == Code::Unavailable);
            self.start_next(&conversation.clone(), answered);
        }
        Poll::Ready(outcome)
    }

    fn start_next(&mut self, conversation: &ConversationId, answered: bool) {
        let next = self.waiting.get_mut(conversation).and_then(VecDeque::pop_front);
        match next {
            Some(mut waiting) => {
                self.waiting_count -= 1;
                if answered {
                    waiting.deadline = Instant::now() + DEADLINE;
                }
                self.start(conversation.clone(), waiting);
            }
            None => {
                self.waiting.remove(conversation);
            }
        }
    }
}
