//! Many small requests of one kind as few messages: what waits at a node goes out together, at most once a millisecond.
//!
//! A request that comes alone goes out at once. Answers come back as each is ready, some together, so that a slow one
//! holds up no other. Everything else is as in [`crate::rpc`]: deadlines, and a second try where no answer came.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::StatusCode;
use futures_util::StreamExt;
use parking_lot::Mutex;
use protocol::Refusal;
use protocol::rpc::{Answer, Request};
use serde::de::DeserializeOwned;
use telemetry::trace::{self, Origin, SpanContext};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Bus;
use crate::rpc::{NOBODY, internal, twice};
use crate::spans::{headers_of, request_span};
use crate::subjects;

/// Most requests of one message.
const TOGETHER_MOST: usize = 128;
/// Requests waiting to go out; more wait at their callers.
const WAITING_MOST: usize = 4_096;
/// At most one message in this time: what comes meanwhile goes with the next.
const PACE: Duration = Duration::from_millis(1);

/// Sends requests of one kind together. Cheap to clone.
#[derive(Debug)]
pub struct Batcher<R: Request> {
    bus: Bus,
    waiting: mpsc::Sender<Item<R::Value>>,
}

impl<R: Request> Clone for Batcher<R> {
    fn clone(&self) -> Self {
        Self {
            bus: self.bus.clone(),
            waiting: self.waiting.clone(),
        }
    }
}

#[derive(Debug)]
struct Item<V> {
    json: String,
    /// Of a request that is traced.
    context: Option<SpanContext>,
    reply: oneshot::Sender<Result<V, Refusal>>,
}

type Replies<V> = Vec<Option<oneshot::Sender<Result<V, Refusal>>>>;

/// Messages that are not answered in full, by the last token of their reply subject.
#[derive(Debug)]
struct Flights<V> {
    sent: HashMap<u64, (Instant, Replies<V>)>,
    next: u64,
    unanswered: usize,
}

type Shared<V> = Arc<Mutex<Flights<V>>>;

impl<V> Flights<V> {
    fn new() -> Self {
        Self {
            sent: HashMap::new(),
            next: 0,
            unanswered: 0,
        }
    }

    /// Remembers whom a message's answers are for.
    fn add(&mut self, replies: Replies<V>) -> u64 {
        let flight = self.next;
        self.next += 1;
        self.unanswered += replies.len();
        self.sent.insert(flight, (Instant::now(), replies));
        flight
    }

    /// Forgets a message; dropping the senders tells its callers to try again.
    fn remove(&mut self, flight: u64) {
        if let Some((_, replies)) = self.sent.remove(&flight) {
            self.unanswered -= replies.iter().flatten().count();
        }
    }

    /// Forgets the messages whose callers have given up.
    fn expire(&mut self, attempt: Duration) {
        let now = Instant::now();
        let late = |(flight, (sent, _)): (&u64, &(Instant, Replies<V>))| {
            (now.saturating_duration_since(*sent) > attempt).then_some(*flight)
        };
        let late: Vec<u64> = self.sent.iter().filter_map(late).collect();
        late.into_iter().for_each(|flight| self.remove(flight));
    }

    /// Hands an answer to whoever waits for it.
    fn answer(&mut self, flight: u64, index: usize, answer: Answer<V>) {
        let Some((_, replies)) = self.sent.get_mut(&flight) else {
            return;
        };
        let Some(reply) = replies.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.unanswered -= 1;
        // A caller that gave up has dropped its end.
        let _ = reply.send(match answer {
            Answer::Ok(value) => Ok(value),
            Answer::Refused(refusal) => Err(refusal),
        });
    }
}

impl<R: Request> Batcher<R> {
    /// Starts the two tasks that send and receive; they end with the last clone. At most `unanswered_most` requests are
    /// sent and not answered: more wait here, where one whose caller has given up costs nothing, so that a service that
    /// cannot keep up is not made to work for callers that are gone.
    ///
    /// # Errors
    /// NATS' words.
    pub async fn start(bus: &Bus, unanswered_most: usize) -> Result<Self, String> {
        let inbox = bus.client.new_inbox();
        let replies = bus
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| error.to_string())?;
        let (waiting, items) = mpsc::channel(WAITING_MOST);
        let flights: Shared<R::Value> = Arc::new(Mutex::new(Flights::new()));
        watch_queues::<R>(&waiting, &flights, unanswered_most);
        let receiving = tokio::spawn(receive(replies, flights.clone()));
        let sending = send::<R>(bus.clone(), unanswered_most, inbox, items, flights);
        tokio::spawn(async move {
            sending.await;
            receiving.abort();
        });
        Ok(Self {
            bus: bus.clone(),
            waiting,
        })
    }

    /// Asks the message service, together with whoever asks at the same moment.
    ///
    /// # Errors
    /// The service's refusal, or `unavailable` when nobody answered in time: the outcome is then unknown.
    pub async fn call(&self, request: &R, within: Duration) -> Result<R::Value, Refusal> {
        let span = request_span(Origin::inside(request.traceparent()).as_ref(), R::SERVICE, R::ENDPOINT);
        let traced = trace::traceparent_of(&span).and_then(|it| request.with_traceparent(it));
        let json = serde_json::to_string(traced.as_ref().unwrap_or(request)).map_err(|error| internal(&error))?;
        let answer = self.attempts(json, trace::context_of(&span), within).await;
        if let Err(refusal) = &answer {
            trace::fail(&span, refusal.code.as_str());
        }
        answer
    }

    async fn attempts(
        &self,
        json: String,
        context: Option<SpanContext>,
        within: Duration,
    ) -> Result<R::Value, Refusal> {
        let deadline = Instant::now() + within;
        loop {
            if !self.bus.is_up() {
                return Err(Refusal::unavailable(
                    "the message bus is away: nothing was changed, try again",
                ));
            }
            let attempt = deadline.min(Instant::now() + Duration::from_millis(R::ATTEMPT_MS));
            let asked = twice(&self.bus, R::SERVICE, || self.ask(json.clone(), context.clone()));
            if let Ok(Ok(answer)) = tokio::time::timeout_at(attempt, asked).await {
                return answer;
            }
            metrics::counter!("parley_rpc_failures_total", "endpoint" => R::ENDPOINT).increment(1);
            if Instant::now() + NOBODY >= deadline {
                return Err(Refusal::unavailable(
                    "no answer in time: the outcome is unknown, repeat the same request",
                ));
            }
            tokio::time::sleep(NOBODY).await;
        }
    }

    async fn ask(&self, json: String, context: Option<SpanContext>) -> Result<Result<R::Value, Refusal>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let item = Item { json, context, reply };
        self.waiting.send(item).await.map_err(|_| Unanswered)?;
        answer.await.map_err(|_| Unanswered)
    }
}

/// Nobody answered, or nobody will.
struct Unanswered;

/// Shows what waits to go out, and what is not answered.
fn watch_queues<R: Request>(
    waiting: &mpsc::Sender<Item<R::Value>>,
    flights: &Shared<R::Value>,
    unanswered_most: usize,
) {
    let (waiting, flights) = (waiting.downgrade(), Arc::downgrade(flights));
    telemetry::watch_queue(format!("{}_waiting", R::ENDPOINT), move || {
        let waiting = waiting.upgrade()?;
        Some((waiting.max_capacity() - waiting.capacity(), waiting.max_capacity()))
    });
    telemetry::watch_queue(format!("{}_unanswered", R::ENDPOINT), move || {
        Some((flights.upgrade()?.lock().unanswered, unanswered_most))
    });
}

async fn send<R: Request>(
    bus: Bus,
    unanswered_most: usize,
    inbox: String,
    mut items: mpsc::Receiver<Item<R::Value>>,
    flights: Shared<R::Value>,
) {
    let subject = subjects::endpoint(R::SERVICE, &format!("{}.many", R::ENDPOINT));
    let attempt = Duration::from_millis(R::ATTEMPT_MS);
    let bytes_most = bus.payload_bytes_most();
    let mut held = None;
    let together = metrics::histogram!("parley_rpc_batch_requests");
    loop {
        let first = match held.take() {
            Some(item) => item,
            None => match items.recv().await {
                Some(item) => item,
                None => return,
            },
        };
        while flights.lock().unanswered >= unanswered_most {
            tokio::time::sleep(PACE).await;
            flights.lock().expire(attempt);
        }
        let Gathered {
            payload,
            replies,
            contexts,
        } = gather(first, &mut items, &mut held, bytes_most);
        if replies.is_empty() {
            continue;
        }
        together.record(replies.len() as f64);
        let span = telemetry::span!(
            Origin::of_batch(!contexts.is_empty()),
            "producer",
            format!("send {subject}"),
            messaging.system = "nats",
            messaging.operation.name = "publish",
            messaging.operation.r#type = "send",
            messaging.destination.name = subject.as_str(),
            messaging.batch.message_count = replies.len() as i64
        );
        trace::link(&span, contexts);
        let flight = flights.lock().add(replies);
        if flight.is_multiple_of(256) {
            flights.lock().expire(attempt);
        }
        let reply = format!("{inbox}.{flight}");
        let headers = headers_of(&span).unwrap_or_default();
        let client = &bus.client;
        let sent = if headers.is_empty() {
            client.publish_with_reply(subject.clone(), reply, payload.into()).await
        } else {
            client
                .publish_with_reply_and_headers(subject.clone(), reply, headers, payload.into())
                .await
        };
        drop(span);
        if let Err(error) = sent {
            tracing::debug!(%error, "requests could not be sent");
            flights.lock().remove(flight);
        }
        tokio::time::sleep(PACE).await;
    }
}

/// One message.
struct Gathered<V> {
    payload: String,
    replies: Replies<V>,
    /// Of its requests that are traced.
    contexts: Vec<SpanContext>,
}

/// The payload of one message: `first` and what else waits, as far as it fits; what does not is `held`. Requests whose
/// callers have given up are left out.
fn gather<V>(
    first: Item<V>,
    items: &mut mpsc::Receiver<Item<V>>,
    held: &mut Option<Item<V>>,
    bytes_most: usize,
) -> Gathered<V> {
    let (mut payload, mut replies, mut contexts) = (String::from("["), Vec::new(), Vec::new());
    let mut next = Some(first);
    while let Some(item) = next {
        if !item.reply.is_closed() {
            if !replies.is_empty() && payload.len() + item.json.len() + 2 > bytes_most {
                *held = Some(item);
                break;
            }
            if !replies.is_empty() {
                payload.push(',');
            }
            payload.push_str(&item.json);
            replies.push(Some(item.reply));
            contexts.extend(item.context);
        }
        next = if replies.len() < TOGETHER_MOST {
            items.try_recv().ok()
        } else {
            None
        };
    }
    payload.push(']');
    Gathered {
        payload,
        replies,
        contexts,
    }
}

async fn receive<V: DeserializeOwned>(mut messages: async_nats::Subscriber, flights: Shared<V>) {
    while let Some(message) = messages.next().await {
        let flight = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|token| token.parse::<u64>().ok());
        let Some(flight) = flight else { continue };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            flights.lock().remove(flight);
            continue;
        }
        let answers: Vec<(usize, Answer<V>)> = match serde_json::from_slice(&message.payload) {
            Ok(answers) => answers,
            Err(error) => {
                let _ = internal(&error);
                continue;
            }
        };
        let mut flights = flights.lock();
        for (index, answer) in answers {
            flights.answer(flight, index, answer);
        }
        let whole = flights
            .sent
            .get(&flight)
            .is_some_and(|(_, replies)| replies.iter().all(Option::is_none));
        if whole {
            flights.remove(flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> (Item<u32>, oneshot::Receiver<Result<u32, Refusal>>) {
        let (reply, answer) = oneshot::channel();
        (
            Item {
                json: json.into(),
                context: None,
                reply,
            },
            answer,
        )
    }

    #[test]
    fn what_waits_goes_together_without_those_who_gave_up() {
        let (waiting, mut items) = mpsc::channel(8);
        let ((first, _one), (gone, nobody), (last, _three)) = (item("1"), item("2"), item("3"));
        drop(nobody);
        waiting.try_send(gone).unwrap();
        waiting.try_send(last).unwrap();
        let mut held = None;
        let sent = gather(first, &mut items, &mut held, 100);
        assert_eq!(
            (sent.payload.as_str(), sent.replies.len(), held.is_none()),
            ("[1,3]", 2, true)
        );
    }

    #[test]
    fn what_does_not_fit_is_held_for_the_next_message_and_one_alone_always_goes() {
        let (waiting, mut items) = mpsc::channel(8);
        let ((first, _one), (second, _two)) = (item("111111"), item("2"));
        waiting.try_send(second).unwrap();
        let mut held = None;
        let sent = gather(first, &mut items, &mut held, 4);
        assert_eq!((sent.payload.as_str(), held.unwrap().json.as_str()), ("[111111]", "2"));
    }

    #[tokio::test]
    async fn each_answer_finds_its_caller_and_the_count_of_the_unanswered_comes_back_to_none() {
        let mut flights = Flights::new();
        let ((one, first), (two, second)) = (item("1"), item("2"));
        let flight = flights.add(vec![Some(one.reply), Some(two.reply)]);
        assert_eq!(flights.unanswered, 2);
        flights.answer(flight, 1, Answer::Ok(7));
        flights.answer(flight, 1, Answer::Ok(8));
        assert_eq!((second.await.unwrap(), flights.unanswered), (Ok(7), 1));
        flights.remove(flight);
        assert!(
            first.await.is_err(),
            "a message without an answer tells its callers to try again"
        );
        assert_eq!(flights.unanswered, 0);
    }
}
