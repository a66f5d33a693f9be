//! Requests between services, over the NATS services API: discovery, ping and statistics come with it.
//!
//! A request is JSON, its answer a [`protocol::rpc::Answer`]. The caller gives a deadline; a request that a killed
//! replica took with it is asked again of another within that time, so every request must be safe to repeat.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::{Service, ServiceExt};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use protocol::rpc::{Answer, Request};
use protocol::{Code, Refusal};
use telemetry::trace::{self, Origin};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::{Bus, subjects};

/// Pause before asking again when no replica was there.
pub(crate) const NOBODY: Duration = Duration::from_millis(50);

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

/// What a request looks like from the side that makes it.
pub(crate) fn request_span(origin: Option<&Origin>, service: &str, endpoint: &str) -> Span {
    telemetry::span!(
        origin,
        "client",
        format!("request {service}.{endpoint}"),
        messaging.system = "nats",
        messaging.operation.name = "request",
        messaging.operation.r#type = "send",
        messaging.destination.name = subjects::endpoint(service, endpoint)
    )
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
        let mut message = async_nats::Request::new()
            .payload(payload.clone())
            .timeout(Some(left.min(Duration::from_millis(R::ATTEMPT_MS))));
        if let Some(headers) = headers_of(&Span::current()) {
            message = message.headers(headers);
        }
        match bus.client.send_request(subject.clone(), message).await {
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

fn answer<R: Request>(reply: &async_nats::Message) -> Result<R::Value, Refusal> {
    match serde_json::from_slice::<Answer<R::Value>>(&reply.payload) {
        Ok(Answer::Ok(value)) => Ok(value),
        Ok(Answer::Refused(refusal)) => Err(refusal),
        Err(error) => Err(internal(&error)),
    }
}

/// The headers that carry a span's context; `None` where there is nothing to carry.
pub(crate) fn headers_of(span: &Span) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(trace::HEADER, trace::traceparent_of(span)?);
    Some(headers)
}

/// What the side that answers does, below whoever asked.
fn answer_span<R: Request>(request: &R, message: &async_nats::Message) -> Span {
    let header = traceparent(message);
    let own = request.traceparent();
    let origin = Origin::inside(own.or(header));
    let span = telemetry::span!(
        origin,
        "server",
        format!("{}.{}", R::SERVICE, R::ENDPOINT),
        messaging.system = "nats",
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = message.subject.as_str()
    );
    if origin.is_some() && own.is_some() && header != own {
        // It came with others in one message.
        trace::link(&span, Origin::inside(header).and_then(|it| it.context()));
    }
    span
}

/// The trace context in a message's headers.
pub fn traceparent(message: &async_nats::Message) -> Option<&str> {
    Some(message.headers.as_ref()?.get(trace::HEADER)?.as_str())
}

/// Does what is asked within its span.
async fn handle<R, F, Fut>(request: R, message: &async_nats::Message, handler: &F) -> Result<R::Value, Refusal>
where
    R: Request,
    F: Fn(R) -> Fut,
    Fut: Future<Output = Result<R::Value, Refusal>>,
{
    let span = answer_span(&request, message);
    let result = handler(request).instrument(span.clone()).await;
    if let Err(refusal) = &result {
        trace::fail(&span, refusal.code.as_str());
    }
    result
}

pub(crate) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a request between services could not be encoded or decoded");
    Refusal::new(Code::Internal, "a fault of the server's; it has been logged")
}

/// The answering side: one service with its endpoints, until stopped.
#[derive(Debug)]
pub struct Server {
    bus: Bus,
    service: Service,
    serving: JoinSet<()>,
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
        self.serving
            .spawn(serve::<R, F, Fut>(endpoint, concurrency, Arc::new(handler)));
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
        self.serving
            .spawn(serve_many::<R, F, Fut>(endpoint, concurrency, Arc::new(handler)));
        Ok(())
    }

    /// Takes no more requests, answers those under way, at most for `grace`.
    pub async fn stop(mut self, grace: Duration) {
        if let Err(error) = self.service.stop().await {
            tracing::warn!(%error, "stopping the service endpoints");
        }
        let _ = tokio::time::timeout(grace, async { while self.serving.join_next().await.is_some() {} }).await;
        let _ = self.bus.client.flush().await;
    }
}

async fn serve<R, F, Fut>(mut endpoint: async_nats::service::endpoint::Endpoint, concurrency: usize, handler: Arc<F>)
where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R::Value, Refusal>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrency));
    while let Some(request) = endpoint.next().await {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            let answer: Answer<R::Value> = match serde_json::from_slice::<R>(&request.message.payload) {
                Ok(body) => match handle(body, &request.message, &*handler).await {
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
    // Requests that were taken are answered before the endpoint counts as stopped.
    let _ = permits
        .acquire_many(u32::try_from(concurrency).unwrap_or(u32::MAX))
        .await;
}

async fn serve_many<R, F, Fut>(
    mut endpoint: async_nats::service::endpoint::Endpoint,
    concurrency: usize,
    handler: Arc<F>,
) where
    R: Request,
    F: Fn(R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R::Value, Refusal>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrency));
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
        .map(|(index, body)| handle(body, &request.message, handler).map(move |result| (index, result)))
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
