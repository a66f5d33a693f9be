//! Requests between services, over the NATS services API: discovery, ping and statistics come with it.
//!
//! A request is JSON, its answer a [`protocol::rpc::Answer`]. The caller gives a deadline; a request that a killed
//! replica took with it is asked again of another within that time, and one that met a replica which was just leaving
//! after a moment (see [`crate::departures`]), so every request must be safe to repeat.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::{Service, ServiceExt};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use protocol::rpc::{Answer, Request};
use protocol::{Code, Quiet, Refusal};
use telemetry::trace::{self, Origin};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::spans::{Travels, answer_span, headers_of, request_span};
use crate::{Bus, departures, subjects};

/// Pause before asking again when no replica was there.
pub(crate) const NOBODY: Duration = Duration::from_millis(50);
/// For the endpoints of a server that stops to unsubscribe.
const LEFT: Duration = Duration::from_millis(250);
/// For the last answers of a server that stops to go out.
const FLUSH: Duration = Duration::from_secs(1);

/// Asks the service that answers such requests.
///
/// # Errors
/// The service's refusal, or `unavailable` when nobody answered before the deadline: the outcome is then unknown.
pub async fn call<R: Request>(bus: &Bus, request: &R, within: Duration) -> Result<R::Value, Refusal> {
    let span = request_span(Origin::here().as_ref(), R::SERVICE, R::ENDPOINT);
    let answer = attempts(bus, request, within).instrument(span.clone()).await;
    if let Err(refusal) = &answer {
        trace::fail(&span, refusal.code.as_str());
    }
    answer
}

async fn attempts<R: Request>(bus: &Bus, request: &R, within: Duration) -> Result<R::Value, Refusal> {
    let deadline = Instant::now() + within;
    let payload = bytes::Bytes::from(serde_json::to_vec(request).map_err(|error| internal(&error))?);
    if payload.len() > bus.payload_bytes_most() {
        let most = bus.payload_bytes_most();
        return Err(Refusal::new(
            Code::TooLarge,
            format!("the request is more than {most} bytes: split it"),
        ));
    }
    let subject = subjects::endpoint(R::SERVICE, R::ENDPOINT);
    loop {
        if !bus.is_up() {
            return Err(Refusal::unavailable(
                "the message bus is away: nothing was changed, try again",
            ));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let ask = || {
            let mut message = async_nats::Request::new()
                .payload(payload.clone())
                .timeout(Some(left.min(Duration::from_millis(R::ATTEMPT_MS))));
            if let Some(headers) = headers_of(&Span::current()) {
                message = message.headers(headers);
            }
            bus.client.send_request(subject.clone(), message)
        };
        let asked = async {
            if R::MAY_OVERLAP {
                twice(bus, R::SERVICE, ask).await
            } else {
                ask().await
            }
        };
        match asked.await {
            Ok(reply) => return answer::<R>(&reply),
            Err(error) => {
                metrics::counter!("parley_rpc_failures_total", "endpoint" => R::ENDPOINT).increment(1);
                tracing::debug!(endpoint = R::ENDPOINT, %error, "no answer");
            }
        }
        if Instant::now() + NOBODY >= deadline {
            return Err(Refusal::unavailable(
                "no answer in time: the outcome is unknown, repeat the same request",
            ));
        }
        tokio::time::sleep(NOBODY).await;
    }
}

/// Asks, and once more beside it if a replica has left that may have been given the first: the first answer counts.
pub(crate) async fn twice<T, E, F>(bus: &Bus, service: &str, ask: impl Fn() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let asked_at = Instant::now();
    let mut first = std::pin::pin!(ask());
    tokio::select! {
        answer = &mut first => return answer,
        () = bus.departures.missed(service, asked_at) => {}
    }
    let second = std::pin::pin!(ask());
    futures_util::future::select_ok([first, second])
        .await
        .map(|(answer, _)| answer)
}

fn answer<R: Request>(reply: &async_nats::Message) -> Result<R::Value, Refusal> {
    match serde_json::from_slice::<Answer<R::Value>>(&reply.payload) {
        Ok(Answer::Ok(value)) => Ok(value),
        Ok(Answer::Refused(refusal)) => Err(refusal),
        Err(error) => Err(internal(&error)),
    }
}

/// Does what is asked within its span.
async fn handle<R, F, Fut>(
    request: R,
    message: &async_nats::Message,
    travels: Travels,
    handler: &F,
) -> Result<R::Value, Refusal>
where
    R: Request,
    F: Fn(R) -> Fut,
    Fut: Future<Output = Result<R::Value, Refusal>>,
{
    let span = answer_span(&request, message, travels);
    let result = handler(request).instrument(span.clone()).await;
    if let Err(refusal) = &result {
        trace::fail(&span, refusal.code.as_str());
    }
    result
}

pub(crate) fn internal(error: &serde_json::Error) -> Refusal {
    tracing::error!(error = %Quiet(error), "a request between services could not be encoded or decoded");
    Refusal::new(Code::Internal, "a fault of the server's; it has been logged")
}

/// The answering side: one service with its endpoints, until stopped.
#[derive(Debug)]
pub struct Server {
    bus: Bus,
    service: Service,
    serving: JoinSet<()>,
    /// As callers name it; known with the first endpoint.
    asked_as: Option<&'static str>,
    /// Each endpoint holds a sender until it gets no more requests.
    taking: (mpsc::Sender<Infallible>, mpsc::Receiver<Infallible>),
}

impl Server {
    /// Announces the service. All replicas share one queue group.
    ///
    /// # Errors
    /// NATS' words.
    pub async fn start(bus: &Bus, name: &str) -> Result<Self, String> {
        let service = bus
            .client
            .service_builder()
            .metadata(HashMap::new())
            .start(name, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self {
            bus: bus.clone(),
            service,
            serving: JoinSet::new(),
            asked_as: None,
            taking: mpsc::channel(1),
        })
    }

    /// Serves an endpoint with at most `concurrency` requests under way; more wait in the subscription.
    ///
    /// # Errors
    /// NATS' words.
    pub async fn endpoint<R, F, Fut>(&mut self, concurrency: usize, handler: F) -> Result<(), String>
    where
        R: Request,
        F: Fn(R) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R::Value, Refusal>> + Send + 'static,
    {
        let endpoint = self
            .service
            .endpoint_builder()
            .name(R::ENDPOINT)
            .add(subjects::endpoint(R::SERVICE, R::ENDPOINT))
            .await
            .map_err(|error| error.to_string())?;
        self.asked_as = Some(R::SERVICE);
        let taking = self.taking.0.clone();
        self.serving
            .spawn(serve::<R, F, Fut>(endpoint, concurrency, Arc::new(handler), taking));
        Ok(())
    }

    /// Serves an endpoint whose requests come alone, as in [`Server::endpoint`], or many in one message, as from
    /// [`crate::batch::Batcher`]; at most `concurrency` messages of many are under way.
    ///
    /// # Errors
    /// NATS' words.
    pub async fn endpoint_of_many<R, F, Fut>(&mut self, concurrency: usize, handler: F) -> Result<(), String>
    where
        R: Request,
        F: Fn(R) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R::Value, Refusal>> + Send + 'static,
    {
        self.endpoint(concurrency, handler.clone()).await?;
        let endpoint = self
            .service
            .endpoint_builder()
            .name(format!("{}-many", R::ENDPOINT))
            .add(subjects::endpoint(R::SERVICE, &format!("{}.many", R::ENDPOINT)))
            .await
            .map_err(|error| error.to_string())?;
        let taking = self.taking.0.clone();
        self.serving.spawn(serve_many::<R, F, Fut>(
            endpoint,
            concurrency,
            Arc::new(handler),
            taking,
        ));
        Ok(())
    }

    /// Takes no more requests, tells callers so, answers what was taken, at most for `grace`. What was on its way here is
    /// asked of another replica, see [`crate::departures`].
    pub async fn stop(mut self, grace: Duration) {
        if let Err(error) = self.service.stop().await {
            tracing::warn!(%error, "stopping the service endpoints");
        }
        let (taking, mut taken) = self.taking;
        drop(taking);
        // An endpoint that is full unsubscribes when it has room again: the others' callers do not wait for that.
        let all_left = tokio::time::timeout(LEFT, taken.recv()).await.is_ok();
        // On the same connection as what unsubscribed, so that the server has heard that first.
        departures::tell(&self.bus.client, self.asked_as).await;
        let answered = async { while self.serving.join_next().await.is_some() {} };
        let all_answered = tokio::time::timeout(grace, answered).await.is_ok();
        if !all_answered {
            tracing::warn!(
                ?grace,
                "some requests are under way for too long: another replica is asked"
            );
        }
        if !all_left || !all_answered {
            departures::tell(&self.bus.client, self.asked_as).await;
        }
        let _ = tokio::time::timeout(FLUSH, self.bus.client.flush()).await;
    }
}

/// Shows how many requests of an endpoint are under way.
fn watch_endpoint(name: String, permits: &Arc<Semaphore>, concurrency: usize) {
    let permits = Arc::downgrade(permits);
    telemetry::watch_queue(name, move || {
        let free = permits.upgrade()?.available_permits();
        Some((concurrency.saturating_sub(free), concurrency))
    });
}

/// Dropped when no more requests come.
type Taking = mpsc::Sender<Infallible>;

async fn serve<R, F, Fut>(
    mut endpoint: async_nats::service::endpoint::Endpoint,
    concurrency: usize,
    handler: Arc<F>,
    taking: Taking,
) where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R::Value, Refusal>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrency));
    watch_endpoint(format!("requests_{}", R::ENDPOINT), &permits, concurrency);
    while let Some(request) = endpoint.next().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            let answer: Answer<R::Value> = match serde_json::from_slice::<R>(&request.message.payload) {
                Ok(body) => match handle(body, &request.message, Travels::Alone, &*handler).await {
                    Ok(value) => Answer::Ok(value),
                    Err(refusal) => Answer::Refused(refusal),
                },
                Err(error) => Answer::Refused(internal(&error)),
            };
            match serde_json::to_vec(&answer) {
                Ok(bytes) => {
                    if let Err(error) = request.respond(Ok(bytes.into())).await {
                        tracing::warn!(%error, "an answer could not be sent");
                    }
                }
                Err(error) => tracing::error!(%error, "an answer could not be encoded"),
            }
            drop(permit);
        });
    }
    drop(taking);
    // Requests that were taken are answered before the endpoint counts as stopped.
    let _ = permits
        .acquire_many(u32::try_from(concurrency).unwrap_or(u32::MAX))
        .await;
}

async fn serve_many<R, F, Fut>(
    mut endpoint: async_nats::service::endpoint::Endpoint,
    concurrency: usize,
    handler: Arc<F>,
    taking: Taking,
) where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R::Value, Refusal>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrency));
    watch_endpoint(format!("requests_{}_many", R::ENDPOINT), &permits, concurrency);
    while let Some(request) = endpoint.next().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            answer_many::<R, F, Fut>(&request, &*handler).await;
            drop(permit);
        });
    }
    drop(taking);
    // Requests that were taken are answered before the endpoint counts as stopped.
    let _ = permits
        .acquire_many(u32::try_from(concurrency).unwrap_or(u32::MAX))
        .await;
}

/// Answers the requests of one message as they are done: those that are done at the same moment together.
async fn answer_many<R, F, Fut>(request: &async_nats::service::Request, handler: &F)
where
    R: Request,
    F: Fn(R) -> Fut,
    Fut: Future<Output = Result<R::Value, Refusal>>,
{
    let bodies: Vec<R> = match serde_json::from_slice(&request.message.payload) {
        Ok(bodies) => bodies,
        Err(error) => {
            internal(&error);
            return;
        }
    };
    let mut running: FuturesUnordered<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(index, body)| {
            handle(body, &request.message, Travels::Together, handler).map(move |result| (index, result))
        })
        .collect();
    while let Some(first) = running.next().await {
        let mut done = vec![first];
        while let Some(Some(next)) = running.next().now_or_never() {
            done.push(next);
        }
        let answers: Vec<(usize, Answer<R::Value>)> = done
            .into_iter()
            .map(|(index, result)| (index, result.map_or_else(Answer::Refused, Answer::Ok)))
            .collect();
        match serde_json::to_vec(&answers) {
            Ok(bytes) => {
                if let Err(error) = request.respond(Ok(bytes.into())).await {
                    tracing::warn!(%error, "answers could not be sent");
                }
            }
            Err(error) => tracing::error!(%error, "answers could not be encoded"),
        }
    }
}
