//! Requests of a session to the other services: sends in order per conversation, everything else beside them.
//!
//! One send per conversation is under way at a time, so that the order of a socket's sends is the order of their
//! `seq`, whichever replicas serve them. A send that is repeated while it waits is not asked for again: a client that
//! repeats what a slow server has not acked must not make it slower. All is bounded: past the bound the session stops
//! reading its socket.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bus::batch::Batcher;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt};
use protocol::client_frame::Reference;
use protocol::rpc::{Confirm, SendMessage, Sent};
use protocol::{ClientId, Code, ConversationId, Refusal, ServerFrame};
use tokio::time::Instant;
use tracing::Span;

use super::confirms::{Confirms, Mark, Merged};

/// Most requests of a session waiting or under way.
const PENDING_MOST: usize = 256;
/// Repetitions of one send that are answered each; more than that are no client's, and the send itself is answered.
const REPETITIONS_MOST: usize = 16;
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
        /// From the frame to here; of none for a repetition.
        span: Span,
    },
    /// Of a receipt, or of some that became one request.
    Confirmed {
        /// Which watermark.
        mark: Mark,
        /// Whether it was asked for by itself, out of turn.
        alone: bool,
        /// To be echoed: of each frame.
        references: Vec<Option<Reference>>,
        /// The answer: up to where it is confirmed.
        result: Result<Option<u64>, Refusal>,
    },
    /// Of anything else: the frame to send, if there is one, and whose turn is next.
    Other(Option<Box<ServerFrame>>, Turn),
}

/// Frames that are done one after the other, as they came.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Those of one room.
    Room(ConversationId),
    /// Those that set the user's status.
    Status,
}

struct Waiting {
    request: Box<SendMessage>,
    reference: Option<Reference>,
    /// From the frame's arrival; anew from its turn where the send before it was answered, so that a long line is no
    /// reason to refuse, and a service that hangs does not make each wait in turn.
    deadline: Instant,
    /// References of its repetitions.
    again: Vec<Option<Reference>>,
    span: Span,
}

/// The sends of a session to one conversation.
#[derive(Default)]
struct Line {
    /// The one under way, and references of its repetitions.
    running: Option<(ClientId, Vec<Option<Reference>>)>,
    waiting: VecDeque<Waiting>,
}

type Work = Pin<Box<dyn Future<Output = Option<ServerFrame>> + Send>>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// See the module.
pub struct Requests {
    sends: Batcher<SendMessage>,
    confirmations: Batcher<Confirm>,
    running: FuturesUnordered<Running>,
    /// An entry exists while a send to that conversation is under way.
    lines: HashMap<ConversationId, Line>,
    waiting_count: usize,
    confirms: Confirms,
    /// How many receipts are under way.
    confirming: usize,
    /// Work that is done in turn; an entry exists while some is under way.
    turns: HashMap<Turn, VecDeque<Work>>,
    /// Outcomes of repetitions, to be told after the one of what they repeat.
    repeated: VecDeque<Outcome>,
}

impl Requests {
    /// None yet.
    pub fn new(sends: Batcher<SendMessage>, confirmations: Batcher<Confirm>) -> Self {
        Self {
            sends,
            confirmations,
            running: FuturesUnordered::new(),
            lines: HashMap::new(),
            waiting_count: 0,
            confirms: Confirms::default(),
            confirming: 0,
            turns: HashMap::new(),
            repeated: VecDeque::new(),
        }
    }

    /// Gives up all but what is under way.
    pub fn stop(&mut self) {
        self.turns = HashMap::new();
        self.lines = HashMap::new();
        self.waiting_count = 0;
    }

    /// Gives up all of them: what is not waited for any more must not hold anything that others wait for.
    pub fn give_up(&mut self) {
        self.stop();
        self.running = FuturesUnordered::new();
        self.confirming = 0;
    }

    /// The next confirmation under way that is accepted, when nothing else is asked for any more; `None` when none is left.
    pub async fn next_confirmed(&mut self) -> Option<(ConversationId, u64)> {
        while self.confirming > 0 {
            match self.running.next().await? {
                Outcome::Confirmed { mark, result, .. } => {
                    self.confirming -= 1;
                    if let Ok(Some(seq)) = result {
                        return Some((mark.0, seq));
                    }
                }
                Outcome::Sent { .. } | Outcome::Other(..) => {}
            }
        }
        None
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
    pub fn send(
        &mut self,
        conversation: ConversationId,
        request: Box<SendMessage>,
        reference: Option<Reference>,
        span: Span,
    ) {
        if let Some(line) = self.lines.get_mut(&conversation) {
            if let Some(again) = line.repetitions_of(&request.send.client_id) {
                if again.len() < REPETITIONS_MOST {
                    again.push(reference);
                }
                return;
            }
            line.waiting.push_back(Waiting::new(request, reference, span));
            self.waiting_count += 1;
            return;
        }
        self.start(conversation, Waiting::new(request, reference, span));
    }

    fn start(&mut self, conversation: ConversationId, waiting: Waiting) {
        let Waiting {
            request,
            reference,
            deadline,
            again,
            span,
        } = waiting;
        let line = self.lines.entry(conversation.clone()).or_default();
        let client_id = request.send.client_id.clone();
        line.running = Some((client_id.clone(), again));
        let sends = self.sends.clone();
        self.running.push(Box::pin(async move {
            let left = deadline.saturating_duration_since(Instant::now());
            let result = if left.is_zero() {
                Err(Refusal::unavailable("the service is slow: it was not sent, try again"))
            } else {
                sends.call(&request, left).await
            };
            Outcome::Sent {
                conversation,
                client_id,
                reference,
                result,
                span,
            }
        }));
    }

    /// Moves a watermark.
    pub fn confirm(&mut self, conversation: ConversationId, confirm: Confirm, reference: Option<Reference>) {
        let mark = (conversation, confirm.kind);
        if confirm.seq.is_none() {
            // A message's id is judged by itself: merged with others, it would not be known which of them was wrong.
            let references = vec![reference];
            return self.ask(mark, true, Merged { confirm, references });
        }
        if let Some(merged) = self.confirms.add(mark.clone(), confirm, reference) {
            self.ask(mark, false, merged);
        }
    }

    fn ask(&mut self, mark: Mark, alone: bool, merged: Merged) {
        let confirmations = self.confirmations.clone();
        self.confirming += 1;
        self.running.push(Box::pin(async move {
            let result = confirmations.call(&merged.confirm, DEADLINE).await;
            Outcome::Confirmed {
                mark,
                alone,
                references: merged.references,
                result,
            }
        }));
    }

    /// Does something after all that was to be done in this turn before.
    pub fn in_turn(&mut self, turn: Turn, work: impl Future<Output = Option<ServerFrame>> + Send + 'static) {
        if let Some(waiting) = self.turns.get_mut(&turn) {
            waiting.push_back(Box::pin(work));
            self.waiting_count += 1;
            return;
        }
        self.turns.insert(turn.clone(), VecDeque::new());
        self.start_work(Box::pin(work), turn);
    }

    fn start_work(&mut self, work: Work, turn: Turn) {
        self.running
            .push(Box::pin(async move { Outcome::Other(work.await.map(Box::new), turn) }));
    }

    fn next_in(&mut self, turn: &Turn) {
        match self.turns.get_mut(turn).and_then(VecDeque::pop_front) {
            Some(work) => {
                self.waiting_count -= 1;
                self.start_work(work, turn.clone());
            }
            None => {
                self.turns.remove(turn);
            }
        }
    }

    /// The next answer; starts what waited for it.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.repeated.pop_front() {
            return Poll::Ready(outcome);
        }
        let Poll::Ready(Some(outcome)) = Pin::new(&mut self.running).poll_next(cx) else {
            return Poll::Pending;
        };
        match &outcome {
            Outcome::Sent {
                conversation,
                client_id,
                result,
                ..
            } => {
                let answered = !matches!(result, Err(refusal) if refusal.code == Code::Unavailable);
                self.repeat(conversation, client_id, result);
                self.start_next(&conversation.clone(), answered);
            }
            Outcome::Confirmed { mark, alone, .. } => {
                self.confirming -= 1;
                if !alone && let Some(next) = self.confirms.done(mark) {
                    self.ask(mark.clone(), false, next);
                }
            }
            Outcome::Other(_, turn) => self.next_in(&turn.clone()),
        }
        Poll::Ready(outcome)
    }

    /// Answers the repetitions of a send as the send itself.
    fn repeat(&mut self, conversation: &ConversationId, client_id: &ClientId, result: &Result<Sent, Refusal>) {
        let line = self.lines.get_mut(conversation);
        let again = line
            .and_then(|line| line.running.take())
            .map_or_else(Vec::new, |it| it.1);
        for reference in again {
            let result = result.clone().map(|sent| Sent {
                duplicate: true,
                ..sent
            });
            self.repeated.push_back(Outcome::Sent {
                conversation: conversation.clone(),
                client_id: client_id.clone(),
                reference,
                result,
                span: Span::none(),
            });
        }
    }

    fn start_next(&mut self, conversation: &ConversationId, answered: bool) {
        let next = self
            .lines
            .get_mut(conversation)
            .and_then(|line| line.waiting.pop_front());
        match next {
            Some(mut waiting) => {
                self.waiting_count -= 1;
                if answered {
                    waiting.deadline = Instant::now() + DEADLINE;
                }
                self.start(conversation.clone(), waiting);
            }
            None => {
                self.lines.remove(conversation);
            }
        }
    }
}

impl Waiting {
    fn new(request: Box<SendMessage>, reference: Option<Reference>, span: Span) -> Self {
        Self {
            request,
            reference,
            deadline: Instant::now() + DEADLINE,
            again: Vec::new(),
            span,
        }
    }
}

impl Line {
    /// Where to note a repetition of a send that is waiting or under way.
    fn repetitions_of(&mut self, client_id: &ClientId) -> Option<&mut Vec<Option<Reference>>> {
        if let Some((id, again)) = &mut self.running
            && id == client_id
        {
            return Some(again);
        }
        let waiting = self
            .waiting
            .iter_mut()
            .find(|it| it.request.send.client_id == *client_id);
        waiting.map(|it| &mut it.again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(client_id: &ClientId) -> Waiting {
        let text = format!(
            r#"{{"user_id":"ann","client_id":"{}","conversation_id":"g"}}"#,
            client_id.as_str()
        );
        Waiting::new(serde_json::from_str(&text).unwrap(), None, Span::none())
    }

    #[test]
    fn a_repetition_of_what_waits_or_is_under_way_takes_no_place_in_the_line() {
        let ids = [ClientId::generate(), ClientId::generate(), ClientId::generate()];
        let mut line = Line {
            running: Some((ids[0].clone(), Vec::new())),
            waiting: [waiting(&ids[1])].into(),
        };
        for id in &ids[..2] {
            line.repetitions_of(id).unwrap().push(None);
        }
        assert!(line.repetitions_of(&ids[2]).is_none());
        assert_eq!((line.running.unwrap().1.len(), line.waiting[0].again.len()), (1, 1));
    }
}
