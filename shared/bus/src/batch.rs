//! Many small requests of one kind as few messages: what waits at a node goes out together, at most once a millisecond.
//!
//! A request that comes alone goes out at once. Answers come back as each is ready, some together, so that a slow one
//! holds up no other. Everything else is as in [`crate::rpc`]: deadlines, and a second try where no answer came.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::StatusCode;
use futures_util::StreamExt;
use parking_lot::Mutex;
use protocol::Refusal;
use protocol::rpc::{Answer, Request};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Bus;
use crate::rpc::{NOBODY, internal};
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
    reply: oneshot::Sender<Result<V, Refusal>>,
}

type Replies<V> = Vec<Option<oneshot::Sender<Result<V, Refusal>>>>;

/// Messages that are not answered in full, by the last token of their reply subject.
type Flights<V> = Arc<Mutex<HashMap<u64, (Instant, Replies<V>)>>>;

impl<R: Request> Batcher<R> {
    /// Starts the two tasks that send and receive; they end with the last clone.
    ///
    /// # Errors
    /// NATS' words.
    pub async fn start(bus: &Bus) -> Result<Self, String> {
        let inbox = bus.client.new_inbox();
        let replies = bus
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| error.to_string())?;
        let (waiting, items) = mpsc::channel(WAITING_MOST);
        let flights: Flights<R::Value> = Arc::default();
        let receiving = tokio::spawn(receive(replies, flights.clone()));
        let sending = send::<R>(bus.clone(), inbox, items, flights);
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
        let deadline = Instant::now() + within;
        let json = serde_json::to_string(request).map_err(|error| internal(&error))?;
        loop {
            if !self.bus.is_up() {
                return Err(Refusal::unavailable(
                    "the message bus is away: nothing was changed, try again",
                ));
            }
            let (reply, answer) = oneshot::channel();
            let attempt = deadline.min(Instant::now() + Duration::from_millis(R::ATTEMPT_MS));
            let item = Item {
                json: json.clone(),
                reply,
            };
            let asked = async {
                self.waiting.send(item).await.ok()?;
                answer.await.ok()
            };
            if let Ok(Some(answer)) = tokio::time::timeout_at(attempt, asked).await {
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
}

async fn send<R: Request>(
    bus: Bus,
    inbox: String,
    mut items: mpsc::Receiver<Item<R::Value>>,
    flights: Flights<R::Value>,
) {
    let subject = subjects::message_endpoint(&format!("{}.many", R::ENDPOINT));
    let bytes_most = bus.payload_bytes_most();
    let (next, mut held) = (AtomicU64::new(0), None);
    loop {
        let first = match held.take() {
            Some(item) => item,
            None => match items.recv().await {
                Some(item) => item,
                None => return,
            },
        };
        let (mut payload, mut replies) = (format!("[{}", first.json), vec![Some(first.reply)]);
        while replies.len() < TOGETHER_MOST
            && let Ok(item) = items.try_recv()
        {
            if payload.len() + item.json.len() + 2 > bytes_most {
                held = Some(item);
                break;
            }
            payload.push(',');
            payload.push_str(&item.json);
            replies.push(Some(item.reply));
        }
        payload.push(']');
        metrics::histogram!("parley_rpc_batch_requests").record(replies.len() as f64);
        let flight = next.fetch_add(1, Ordering::Relaxed);
        keep(&flights, flight, replies, Duration::from_millis(R::ATTEMPT_MS));
        let reply = format!("{inbox}.{flight}");
        if let Err(error) = bus
            .client
            .publish_with_reply(subject.clone(), reply, payload.into())
            .await
        {
            tracing::debug!(%error, "requests could not be sent");
            flights.lock().remove(&flight);
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Remembers whom a message's answers are for, and forgets those whose callers have given up.
fn keep<V>(flights: &Flights<V>, flight: u64, replies: Replies<V>, attempt: Duration) {
    let now = Instant::now();
    let mut flights = flights.lock();
    if flight.is_multiple_of(256) {
        flights.retain(|_, (sent, _)| now.saturating_duration_since(*sent) < attempt * 2);
    }
    flights.insert(flight, (now, replies));
}

async fn receive<V: DeserializeOwned>(mut messages: async_nats::Subscriber, flights: Flights<V>) {
    while let Some(message) = messages.next().await {
        let flight = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|token| token.parse::<u64>().ok());
        let Some(flight) = flight else { continue };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            // Dropping the senders tells the callers to try again.
            flights.lock().remove(&flight);
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
        let Some((_, replies)) = flights.get_mut(&flight) else {
            continue;
        };
        for (index, answer) in answers {
            let answer = match answer {
                Answer::Ok(value) => Ok(value),
                Answer::Refused(refusal) => Err(refusal),
            };
            if let Some(reply) = replies.get_mut(index).and_then(Option::take) {
                // A caller that gave up has dropped its end.
                let _ = reply.send(answer);
            }
        }
        if replies.iter().all(Option::is_none) {
            flights.remove(&flight);
        }
    }
}
